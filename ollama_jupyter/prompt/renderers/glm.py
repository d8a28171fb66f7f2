"""GLM-4.7: turns that begin with a role's tag and end with the next one's."""

from collections.abc import Sequence
from typing import Final

from ollama_jupyter.api.types import JSON, Message, Think, Tool, ToolCall
from ollama_jupyter.prompt.renderers.jsontext import spaced, tool_json, value_json

_BEFORE_TOOLS: Final = """<|system|>
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_AFTER_TOOLS: Final = """</tools>

For each function call, output the function name and arguments within the following XML format:
<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value>\
<arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"""


def render_glm(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt; thoughts stay only in answers after the last question. Thinks unless told not to.

    An answer at the end is a finished turn, not a beginning to go on from.
    """
    del image_tags
    prompt = "[gMASK]<sop>"
    if tools:
        offered = "".join(f"{spaced(tool_json(tool))}\n" for tool in tools)
        prompt += f"{_BEFORE_TOOLS}{offered}{_AFTER_TOOLS}"
    last_user = max((at for at, each in enumerate(messages) if each.role == "user"), default=-1)
    for at, message in enumerate(messages):
        if message.role == "assistant":
            prompt += _answer(message, keeps_thinking=at > last_user)
        elif message.role == "tool":
            follows = at > 0 and messages[at - 1].role == "tool"
            prompt += "" if follows else "<|observation|>"
            prompt += f"<tool_response>{message.content}</tool_response>"
        else:
            prompt += f"<|{message.role}|>{message.content}"
    return f"{prompt}<|assistant|>{'</think>' if think is False else '<think>'}"


def _answer(message: Message, *, keeps_thinking: bool) -> str:
    thinking, content = message.thinking, message.content
    if not thinking and "</think>" in content:
        before, _, content = content.rpartition("</think>")
        thinking = before.rpartition("<think>")[2]
    thought = f"<think>{thinking.strip()}" if keeps_thinking and thinking else ""
    calls = "".join(_call(call) for call in message.tool_calls)
    return f"<|assistant|>{thought}</think>{content.strip()}{calls}"


def _call(call: ToolCall) -> str:
    arguments = "".join(
        f"<arg_key>{name}</arg_key><arg_value>{_value(value)}</arg_value>"
        for name, value in call.function.arguments.items()
    )
    return f"<tool_call>{call.function.name}{arguments}</tool_call>"


def _value(value: JSON) -> str:
    return value if isinstance(value, str) else spaced(value_json(value))
