"""Qwen3-Coder: tools and calls as nested tags."""

from collections.abc import Sequence
from typing import Final

from ollama_jupyter.api.types import Message, Think, Tool, ToolCall, ToolParameters, ToolProperty
from ollama_jupyter.prompt.renderers.jsontext import property_members, text_or_json, value_json

_DEFAULT_SYSTEM: Final = (
    "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
)
_BEFORE_TOOLS: Final = """

# Tools

You have access to the following functions:

<tools>"""
_AFTER_TOOLS: Final = """
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must \
be nested within <tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the \
function call, but NOT after
- If there is no function call available, answer the question like normal with your current \
knowledge and do not tell the user about function calls
</IMPORTANT>"""


def render_qwen_coder(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt; this family neither thinks nor sees."""
    del think, image_tags
    prompt, last = _opening(messages, tools), len(messages) - 1
    for at, message in enumerate(messages):
        if message.role == "tool":
            follows = at > 0 and messages[at - 1].role == "tool"
            prompt += "" if follows else "<|im_start|>user"
            prompt += f"\n<tool_response>\n{message.content}\n</tool_response>"
            is_end = at == last or messages[at + 1].role != "tool"
            prompt += "<|im_end|>\n" if is_end else ""
        elif message.role == "assistant":
            prompt += f"<|im_start|>assistant\n{message.content}"
            prompt += "\n" if message.content and message.tool_calls else ""
            prompt += "".join(_call(call) for call in message.tool_calls)
            prompt += "" if at == last else "<|im_end|>\n"
        elif message.role != "system" or at:
            prompt += f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n"
    is_prefilled = bool(messages) and messages[-1].role == "assistant"
    return prompt if is_prefilled else f"{prompt}<|im_start|>assistant\n"


def _opening(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    has_system = bool(messages) and messages[0].role == "system"
    system = messages[0].content if has_system else ""
    if not system and not tools:
        return ""
    prompt = f"<|im_start|>system\n{system or _DEFAULT_SYSTEM}"
    if tools:
        prompt += _BEFORE_TOOLS + "".join(_tool(tool) for tool in tools) + _AFTER_TOOLS
    return f"{prompt}<|im_end|>\n"


def _tool(tool: Tool) -> str:
    function = tool.function
    text = f"\n<function>\n<name>{function.name}</name>"
    if function.description:
        text += f"\n<description>{function.description.strip()}</description>"
    return f"{text}\n<parameters>{_parameters(function.parameters)}\n</parameters>\n</function>"


def _parameters(parameters: ToolParameters) -> str:
    properties = (parameters.properties or {}).items()
    text = "".join(_parameter(name, each) for name, each in properties)
    if parameters.defs is not None:
        text += f"\n<$defs>{value_json(parameters.defs)}</$defs>"
    if parameters.items is not None:
        text += f"\n<items>{value_json(parameters.items)}</items>"
    if parameters.required:
        text += f"\n<required>{value_json(parameters.required)}</required>"
    return text


def _parameter(name: str, each: ToolProperty) -> str:
    """A parameter: name, type and description, then what else there is as JSON."""
    members = property_members(each)
    text = f"\n<parameter>\n<name>{name}</name>"
    if json_type := members.pop("type", ""):
        unquoted = json_type.strip('"')
        text += f"\n<type>{unquoted}</type>"
    if members.pop("description", ""):
        text += f"\n<description>{each.description.strip()}</description>"
    for key, value in members.items():
        text += f"\n<{key}>{value}</{key}>"
    return f"{text}\n</parameter>"


def _call(call: ToolCall) -> str:
    arguments = "".join(
        f"<parameter={name}>\n{text_or_json(value)}\n</parameter>\n"
        for name, value in call.function.arguments.items()
    )
    return f"\n<tool_call>\n<function={call.function.name}>\n{arguments}</function>\n</tool_call>"
