"""DeepSeek-V3.1, and Cogito, which was made of it."""

from collections.abc import Sequence
from typing import Final

from ollama_jupyter.api.types import Message, Think, Tool, ToolCall
from ollama_jupyter.prompt.renderers.jsontext import (
    arguments_json,
    indented_tool_json,
    parameters_json,
)

_BOS: Final = "<｜begin▁of▁sentence｜>"
_EOS: Final = "<｜end▁of▁sentence｜>"
_USER: Final = "<｜User｜>"
_ASSISTANT: Final = "<｜Assistant｜>"
_CALL_BEGIN: Final = "<｜tool▁call▁begin｜>"
_CALL_END: Final = "<｜tool▁call▁end｜>"
_CALLS_BEGIN: Final = "<｜tool▁calls▁begin｜>"
_CALLS_END: Final = "<｜tool▁calls▁end｜>"
_SEPARATOR: Final = "<｜tool▁sep｜>"
_OUTPUT_BEGIN: Final = "<｜tool▁output▁begin｜>"
_OUTPUT_END: Final = "<｜tool▁output▁end｜>"
_OUTPUTS_BEGIN: Final = "<｜tool▁outputs▁begin｜>"
_OUTPUTS_END: Final = "<｜tool▁outputs▁end｜>"

_BEFORE_TOOLS: Final = """

## Tools
You have access to the following tools:
"""
_AFTER_TOOLS: Final = f"""
IMPORTANT: ALWAYS adhere to this exact format for tool use:
{_CALLS_BEGIN}{_CALL_BEGIN}tool_call_name{_SEPARATOR}tool_call_arguments{_CALL_END}\
{{{{additional_tool_calls}}}}{_CALLS_END}

Where:

- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""
_COGITO: Final = (
    "You are Cogito, an AI assistant created by Deep Cogito,"
    " which is an AI research lab based in San Francisco."
)
_COGITO_THINKS: Final = "Enable deep thinking subroutine.\n\n"
_COGITO_TOOLS: Final = "\nYou have the following functions available:\n"


def render_deepseek(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt of DeepSeek-V3.1; thoughts of earlier answers are left out."""
    del image_tags
    prompt = _BOS + "\n\n".join(each.content for each in messages if each.role == "system")
    if tools:
        prompt += _BEFORE_TOOLS + "".join(_deepseek_tool(tool) for tool in tools) + _AFTER_TOOLS
    is_asked = False
    for message in messages:
        if message.role == "user":
            prompt += _USER + message.content
            is_asked = True
        elif message.role == "assistant":
            prompt += f"{_ASSISTANT}</think>" if is_asked else ""
            prompt += _answer(message.content) + _deepseek_calls(message.tool_calls) + _EOS
            is_asked = False
        elif message.role == "tool":
            prompt += f"{_OUTPUT_BEGIN}{message.content}{_OUTPUT_END}"
            is_asked = False
    if is_asked:
        prompt += f"{_ASSISTANT}{'<think>' if think else '</think>'}"
    return prompt


def _answer(content: str) -> str:
    """An answer without the thoughts that its text may hold."""
    before, _, after = content.partition("</think>")
    return after or before


def _deepseek_tool(tool: Tool) -> str:
    function = tool.function
    return (
        f"\n### {function.name}\nDescription: {function.description}\n"
        f"\nParameters: {parameters_json(function.parameters)}\n"
    )


def _deepseek_calls(calls: Sequence[ToolCall]) -> str:
    written = "".join(
        f"{_CALL_BEGIN}{call.function.name}{_SEPARATOR}"
        f"{arguments_json(call.function.arguments)}{_CALL_END}"
        for call in calls
    )
    return f"{_CALLS_BEGIN}{written}{_CALLS_END}" if calls else ""


def render_cogito(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt of Cogito; of the system messages only a leading one counts."""
    del image_tags
    prompt = f"{_BOS}{_COGITO_THINKS if think else ''}{_COGITO}"
    if messages and messages[0].role == "system" and messages[0].content:
        prompt += f"\n\n{messages[0].content}"
    if tools:
        written = "".join(f"```json\n{indented_tool_json(tool)}\n```\n" for tool in tools)
        prompt += _COGITO_TOOLS + written
    for at, message in enumerate(messages):
        if message.role == "user":
            prompt += f"{_USER}{message.content}{_ASSISTANT}"
        elif message.role == "assistant":
            prompt += message.content + _cogito_calls(message.tool_calls) + _EOS
        elif message.role == "tool":
            follows = at > 0 and messages[at - 1].role == "tool"
            prompt += "\n" if follows else _OUTPUTS_BEGIN
            prompt += f"{_OUTPUT_BEGIN}{message.content}{_OUTPUT_END}"
            is_end = at + 1 == len(messages) or messages[at + 1].role != "tool"
            prompt += _OUTPUTS_END if is_end else ""
    if not messages or messages[-1].role != "user":
        prompt += _ASSISTANT
    return f"{prompt}<think>\n" if think else prompt


def _cogito_calls(calls: Sequence[ToolCall]) -> str:
    written = "\n".join(
        f"{_CALL_BEGIN}function{_SEPARATOR}{call.function.name}\n"
        f"```json\n{arguments_json(call.function.arguments)}\n```{_CALL_END}"
        for call in calls
    )
    return f"{_CALLS_BEGIN}{written}{_CALLS_END}" if calls else ""
