"""Qwen3-VL, which sees images: the plain variant and the one that thinks."""

from collections.abc import Sequence
from typing import Final

from ollama_jupyter.api.types import Message, Think, Tool, ToolCall
from ollama_jupyter.prompt.renderers.images import with_images
from ollama_jupyter.prompt.renderers.jsontext import arguments_json, spaced, tool_json

_IMAGE: Final = "<|vision_start|><|image_pad|><|vision_end|>"
_BEFORE_TOOLS: Final = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_AFTER_TOOLS: Final = """
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def render_qwen_vl(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt of the variant that does not think, whatever `think` says."""
    del think
    return _render(messages, tools, image_tags, is_thinking=False)


def render_qwen_vl_thinking(
    messages: Sequence[Message], tools: Sequence[Tool], think: Think | None, image_tags: bool
) -> str:
    """The prompt of the variant that thinks, whatever `think` says."""
    del think
    return _render(messages, tools, image_tags, is_thinking=True)


def _render(
    messages: Sequence[Message], tools: Sequence[Tool], image_tags: bool, *, is_thinking: bool
) -> str:
    placeholder = None if image_tags else _IMAGE
    prompt, images = _opening(messages, tools), 0
    last, last_query = len(messages) - 1, _last_query(messages)
    for at, message in enumerate(messages):
        content = with_images(message.content, len(message.images), images, placeholder)
        images += len(message.images)
        is_last = at == last
        if message.role == "assistant":
            if is_thinking and at > last_query and (is_last or message.thinking):
                content = _thought(message.thinking, content)
            prompt += f"<|im_start|>assistant\n{content}{_calls(message.tool_calls, content)}"
            prompt += "" if is_last else "<|im_end|>\n"
        elif message.role == "tool":
            prompt += "" if at and messages[at - 1].role == "tool" else "<|im_start|>user"
            prompt += f"\n<tool_response>\n{content}\n</tool_response>"
            is_end = is_last or messages[at + 1].role != "tool"
            prompt += "<|im_end|>\n" if is_end else ""
        elif message.role != "system" or at:
            prompt += f"<|im_start|>{message.role}\n{content}<|im_end|>\n"
    if messages and messages[-1].role == "assistant":
        return prompt
    opening = "<think>\n" if is_thinking else ""
    return f"{prompt}<|im_start|>assistant\n{opening}"


def _opening(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    """The system turn: what the first message says, and the tools."""
    has_system = bool(messages) and messages[0].role == "system"
    parts = [messages[0].content] if has_system else []
    if tools:
        offered = "\n".join(spaced(tool_json(tool)) for tool in tools)
        parts.append(f"{_BEFORE_TOOLS}{offered}{_AFTER_TOOLS}")
    text = "\n\n".join(parts)
    return f"<|im_start|>system\n{text}<|im_end|>\n" if parts else ""


def _last_query(messages: Sequence[Message]) -> int:
    """Where the last question is that is not a tool's answer in a user's words."""
    for at in range(len(messages) - 1, -1, -1):
        content = messages[at].content
        is_response = content.startswith("<tool_response>") and content.endswith("</tool_response>")
        if messages[at].role == "user" and not is_response:
            return at
    return len(messages) - 1


def _thought(thinking: str, content: str) -> str:
    """An answer with its thoughts, which stay open as long as there is no answer."""
    closing = "\n</think>\n\n" + content.lstrip("\n") if content else ""
    return "<think>\n" + thinking.strip("\n") + closing


def _calls(calls: Sequence[ToolCall], content: str) -> str:
    written = "\n".join(
        f'<tool_call>\n{{"name": "{call.function.name}", "arguments": '
        f"{spaced(arguments_json(call.function.arguments))}}}\n</tool_call>"
        for call in calls
    )
    return f"\n{written}" if content and written else written
