"""FunctionGemma: tools, calls and responses in a notation of its own."""

from collections.abc import Iterator, Sequence
from typing import Final

from ollama_jupyter.api.types import JSON, Message, Think, Tool, ToolCall, ToolProperty
from ollama_jupyter.prompt.renderers.jsontext import value_json

_BEFORE_TOOLS: Final = "You can do function calling with the following functions:"
_SYSTEM: Final = ("system", "developer")


def render_functiongemma(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt. After a call and after its response the model's turn goes on unended."""
    del think, image_tags
    has_system = bool(messages) and messages[0].role in _SYSTEM
    prompt = "<bos>" + _opening(messages[0].content.strip() if has_system else "", tools)
    is_open = False
    names: Iterator[str] = iter(())
    for at, message in enumerate(messages[1:] if has_system else messages, int(has_system)):
        if message.role == "tool":
            expected = next(names, "")
            name = message.tool_name or _name_of(message, messages[:at]) or expected
            prompt += _response(name, message.content)
            is_open = True
            continue
        role = "model" if message.role == "assistant" else message.role
        if is_open and role != "model":
            prompt += "<end_of_turn>\n"
            is_open = False
        prompt += "" if is_open else f"<start_of_turn>{role}\n"
        prompt += message.content.strip() + "".join(_call(call) for call in message.tool_calls)
        names = iter([call.function.name for call in message.tool_calls])
        is_open = bool(message.tool_calls)
        prompt += "" if is_open else "<end_of_turn>\n"
    return prompt if is_open else f"{prompt}<start_of_turn>model\n"


def _opening(system: str, tools: Sequence[Tool]) -> str:
    parts = [system] if system else []
    if tools:
        parts.append(_BEFORE_TOOLS + "".join(_declaration(tool) for tool in tools))
    text = "\n".join(parts)
    return f"<start_of_turn>developer\n{text}<end_of_turn>\n" if parts else ""


def _declaration(tool: Tool) -> str:
    function = tool.function
    members = [f"description:{_text(function.description)}"]
    parameters = _schema(
        function.parameters.type, function.parameters.properties or {}, function.parameters.required
    )
    if parameters:
        members.append(f"parameters:{{{parameters}}}")
    return (
        f"<start_function_declaration>declaration:{function.name}{{{','.join(members)}}}"
        "<end_function_declaration>"
    )


def _schema(
    type_name: str, properties: dict[str, ToolProperty], required: Sequence[str], before: str = ""
) -> str:
    """An object's members in the vendor's order, the type last."""
    members = [before] if before else []
    if properties:
        written = ",".join(f"{name}:{_property(properties[name])}" for name in sorted(properties))
        members.append(f"properties:{{{written}}}")
    if required:
        members.append(f"required:{_argument(list(required))}")
    if type_name:
        members.append(f"type:{_text(type_name.upper())}")
    return ",".join(members)


def _property(each: ToolProperty) -> str:
    names = [each.type] if isinstance(each.type, str) else list(each.type)
    before = f"description:{_text(each.description)}"
    if each.enum:
        before += f",enum:{_argument(list(each.enum))}"
    type_name = next((name for name in names if name != "null"), "")
    return f"{{{_schema(type_name, each.properties, each.required, before)}}}"


def _call(call: ToolCall) -> str:
    arguments = _argument(call.function.arguments)
    return f"<start_function_call>call:{call.function.name}{arguments}<end_function_call>"


def _response(name: str, content: str) -> str:
    written = f"response:{name}{{{_text(content)}}}"
    return f"<start_function_response>{written}<end_function_response>"


def _name_of(message: Message, before: Sequence[Message]) -> str:
    """The name of the call that a response answers by its id; empty without one."""
    calls = (call for each in reversed(before) for call in each.tool_calls)
    wanted = message.tool_call_id
    return next((call.function.name for call in calls if wanted and call.id == wanted), "")


def _argument(value: JSON) -> str:
    """A value, keys sorted as the vendor's template sorts them."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_argument(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_argument, value))}]"
    return value_json(value)


def _text(text: str) -> str:
    return f"<escape>{text}<escape>"
