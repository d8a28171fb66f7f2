"""From messages to the text a model continues.

By the built-in renderer its configuration names, else by its Go template, both here, else by its
Jinja template, there.

A model's own Jinja template is a program by a stranger that can run without end, so the runner
renders it, under a deadline. Go templates are rendered here under a budget of steps; one over a
long conversation in a thread, so that the loop goes on. Tokens are counted by the runner, and
only when the text could be too long: no text has more tokens than bytes, but for a blank in front.
"""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from ollama_jupyter.api.native import to_json
from ollama_jupyter.api.types import JSON, Message, Think, Tool
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.inference.completion import Output
from ollama_jupyter.inference.output.thinking import ThinkingParser, infer_tags
from ollama_jupyter.inference.output.tools import ToolParser
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.render import render_chat
from ollama_jupyter.prompt.renderers import renderer_named
from ollama_jupyter.prompt.truncate import Prompt, chat_prompt, fit
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.runner.wire import TemplateRequest, TokenizeRequest

_DEFAULT_TEMPLATE: Final = "{{ .Prompt }}"
_THREAD_CHARACTERS: Final = 64 << 10
_SPARE_TOKENS: Final = 8
_JINJA_TAGS: Final = ("<think>", "</think>")
_JINJA_CALL_TAGS: Final = ("<tool_call>", "[TOOL_CALLS]", "<function_calls>")

Yielded = TypeVar("Yielded")
Result = TypeVar("Result")


@lru_cache(maxsize=16)
def parsed_template(text: str) -> Template:
    """A Go template; that of a model without one repeats the prompt.

    Raises:
        InvalidTemplate: it does not parse.
    """
    return Template.parse(text or _DEFAULT_TEMPLATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a prompt is made of.

    Attributes:
        messages: all of them, the system's first.
        tools: what the model may call.
        think: what the request says about thinking.
        num_ctx: tokens the prompt may have.
        truncate: whether old messages are left out when it has more.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    think: Think | None = None
    num_ctx: int
    truncate: bool = True


async def build_prompt(model: Model, runner: RunnerClient, conversation: Conversation) -> Prompt:
    """The prompt for a conversation, cut to the context by whole messages.

    Raises:
        InvalidTemplate: the Go template fails on these messages.
        BadRequest, RunnerError: the runner could not render or count.
    """
    renderer = renderer_named(model.config.renderer)
    if renderer is None and model.uses_chat_template:
        return await _native_prompt(runner, conversation)
    tools, think = conversation.tools, conversation.think

    def render(messages: Sequence[Message]) -> str:
        if renderer is not None:
            return renderer(messages, tools, think, True)
        return render_chat(parsed_template(model.template), messages, tools=tools, think=think)

    steps = chat_prompt(
        render,
        conversation.messages,
        num_ctx=conversation.num_ctx,
        truncate=conversation.truncate,
        has_projector=bool(model.projectors),
    )
    in_thread = _length(conversation.messages) > _THREAD_CHARACTERS
    text, prompt = await _step(steps, None, in_thread=in_thread)
    while prompt is None:
        count = await _count(runner, text or "", conversation.num_ctx)
        text, prompt = await _step(steps, count, in_thread=in_thread)
    return prompt


async def _native_prompt(runner: RunnerClient, conversation: Conversation) -> Prompt:
    """The same, rendered by the model's own Jinja template in the runner."""
    if not conversation.truncate:
        text = await _apply_template(runner, conversation, conversation.messages)
        return Prompt(text=text, images=(), dropped=0)
    steps = fit(conversation.messages, num_ctx=conversation.num_ctx, has_projector=False)
    candidate, kept = _advance(steps, None)
    rendered: dict[int, str] = {}
    while kept is None:
        messages = tuple(candidate or ())
        text = await _apply_template(runner, conversation, messages)
        rendered = {len(messages): text}
        candidate, kept = _advance(steps, await _count(runner, text, conversation.num_ctx))
    text = rendered.get(len(kept.messages), "")
    if not text:
        text = await _apply_template(runner, conversation, kept.messages)
    return Prompt(text=text, images=(), dropped=kept.dropped)


async def _apply_template(
    runner: RunnerClient, conversation: Conversation, messages: Sequence[Message]
) -> str:
    think = conversation.think
    reply = await runner.apply_template(
        TemplateRequest(
            messages=[_message(message) for message in messages],
            tools=[to_json(tool) for tool in conversation.tools] or None,
            enable_thinking=None if think is None else bool(think),
        )
    )
    return reply.prompt


def _message(message: Message) -> dict[str, JSON]:
    """A message by the names that chat templates in GGUF files expect."""
    made: dict[str, JSON] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_name:
        made["name"] = message.tool_name
    if message.tool_call_id:
        made["tool_call_id"] = message.tool_call_id
    return made


async def _count(runner: RunnerClient, text: str, num_ctx: int) -> int:
    """Tokens of a text, special ones aside; an upper bound where that is enough."""
    most = len(text.encode()) + _SPARE_TOKENS
    if most <= num_ctx:
        return most
    reply = await runner.tokenize(TokenizeRequest(text=text))
    return len(reply.tokens)


async def _step(
    steps: Generator[Yielded, int, Result], value: int | None, *, in_thread: bool
) -> tuple[Yielded | None, Result | None]:
    if in_thread:
        return await asyncio.to_thread(_advance, steps, value)
    return _advance(steps, value)


def _advance(
    steps: Generator[Yielded, int, Result], value: int | None
) -> tuple[Yielded | None, Result | None]:
    """What a generator yields next, or what it ends with."""
    try:
        return (next(steps) if value is None else steps.send(value)), None
    except StopIteration as stop:
        result: Any = stop.value
        return None, result


def _length(messages: Sequence[Message]) -> int:
    return sum(len(message.content) + len(message.thinking) for message in messages)


# --- what the answer will look like ---------------------------------------------------------


def new_output(
    model: Model, *, prompt: str, think: Think | None, tools: Sequence[Tool] = ()
) -> Output:
    """What will take the thinking and the tool calls out of the answer to a prompt."""
    opening, closing = thinking_tags(model) if think else ("", "")
    thinking = None
    if opening and closing:
        thinking = ThinkingParser(opening, closing)
        if prompt.rstrip().endswith(opening):
            thinking.feed(opening)
    parser = ToolParser(_template_of_calls(model), tools) if tools else None
    return Output(thinking, parser)


def thinking_tags(model: Model) -> tuple[str, str]:
    """The texts around the model's thinking; "" when its template has none."""
    if not model.uses_chat_template:
        return infer_tags(parsed_template(model.template))
    return _JINJA_TAGS if all(tag in model.chat_template for tag in _JINJA_TAGS) else ("", "")


def _template_of_calls(model: Model) -> Template:
    """A Go template that shows what the model writes before a tool call."""
    if not model.uses_chat_template:
        return parsed_template(model.template)
    tag = next((tag for tag in _JINJA_CALL_TAGS if tag in model.chat_template), "")
    return parsed_template(f"{{{{ if .ToolCalls }}}}{tag}{{{{ end }}}}")
