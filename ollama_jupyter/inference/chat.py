"""POST /api/chat, from a request to the records of its reply: the spine of the server.

    resolve the model (catalog) → lease a runner (scheduler) → build the prompt (prompting)
    → complete (runner.client) → take thinking and tool calls out of the text (output)

Every other room is entered from here, and answers to here.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from ollama_jupyter.api.options import Options, merge
from ollama_jupyter.api.types import (
    ChatChunk,
    ChatRequest,
    DebugInfo,
    Message,
    ProgressChunk,
    ReplyMessage,
    Think,
)
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import UnsupportedCapability
from ollama_jupyter.inference.completion import (
    Outcome,
    Piece,
    answer,
)
from ollama_jupyter.inference.prompting import (
    Conversation,
    build_prompt,
    new_output,
    thinking_tags,
)
from ollama_jupyter.inference.records import Records, with_runner
from ollama_jupyter.inference.rooms import Rooms, resolve
from ollama_jupyter.inference.waiting import Progress
from ollama_jupyter.inference.wishes import (
    check_top_logprobs,
    completion_request,
    grammar_of,
    refuse_images,
    settle_think,
)
from ollama_jupyter.quantities import keep_alive_from_json
from ollama_jupyter.scheduler.scheduler import Lease

_STRIPPED_FAMILY = "qwen3"
_STRIPPED_MODEL = "deepseek-r1"


async def chat(
    rooms: Rooms, request: ChatRequest
) -> AsyncGenerator[ChatChunk | ProgressChunk, None]:
    """The records of a reply; the last has `done`. Closing the generator cancels the work.

    Raises:
        OllamaError: whatever went wrong, before or after the first record.
    """
    records = _Records(rooms.clock, request.model)
    check_top_logprobs(request.top_logprobs)
    keep_alive_ns = keep_alive_from_json(request.keep_alive)
    model = await resolve(rooms, request.model, missing=f"model '{request.model}' not found")
    if not request.messages and keep_alive_ns == 0:
        await rooms.scheduler.unload(model)
        yield records.single("unload")
        return
    think = _check(rooms, model, request)
    options = merge(model.parameters, request.options)

    def reply(lease: Lease) -> AsyncGenerator[ChatChunk | ProgressChunk, None]:
        return _reply(records, model, lease, request, options, think)

    wanted = reply if request.messages else None
    async with aclosing(with_runner(rooms, model, request, options, records, wanted)) as stream:
        async for record in stream:
            yield record


async def _reply(
    records: "_Records",
    model: Model,
    lease: Lease,
    request: ChatRequest,
    options: Options,
    think: Think | None,
) -> AsyncGenerator[ChatChunk | ProgressChunk, None]:
    """The records of an answer, from a runner that is ready."""
    conversation = Conversation(
        messages=_messages(model, request.messages),
        tools=request.tools,
        think=think,
        num_ctx=min(options.num_ctx or lease.num_ctx, lease.num_ctx),
        truncate=request.truncate is not False,
    )
    prompt = await build_prompt(model, lease.runner, conversation)
    if request.debug_render_only:
        yield records.debug(prompt.text)
        return
    closing = thinking_tags(model)[1] if think else ""
    completion = completion_request(
        request,
        prompt=prompt.text,
        options=options,
        num_ctx=conversation.num_ctx,
        grammar=grammar_of(request.format, after=closing),
    )
    items = answer(
        lease.runner,
        completion,
        lambda: new_output(model, prompt=prompt.text, think=think, tools=request.tools),
    )
    async with aclosing(items):
        async for item in items:
            match item:
                case Progress():
                    yield records.progress(item)
                case Piece():
                    yield records.piece(item)
                case Outcome():
                    yield records.last(item, dropped=prompt.dropped)


def _check(rooms: Rooms, model: Model, request: ChatRequest) -> Think | None:
    """What the request says about thinking, when the model can do all that it asks.

    Raises:
        BadRequest: it cannot, or the format is none.
    """
    think = settle_think(model, request.model, request.think)
    if "completion" not in model.capabilities:
        raise UnsupportedCapability(f'"{request.model}" does not support chat')
    wanted = ("tools",) if request.tools else ()
    rooms.catalog.check(model, *wanted)
    refuse_images(model, sum(len(message.images) for message in request.messages))
    grammar_of(request.format)
    return think


def _messages(model: Model, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation with what the model brings before it."""
    whole = (*model.messages, *messages)
    if model.system and messages[0].role != "system":
        whole = (Message(role="system", content=model.system), *whole)
    is_stripped = model.config.model_family == _STRIPPED_FAMILY
    if is_stripped or model.name.model == _STRIPPED_MODEL:
        return _without_old_thinking(whole)
    return whole


def _without_old_thinking(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Answers before the last question lose the thinking at their beginning."""
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
    made = []
    for position, message in enumerate(messages):
        content = message.content
        if message.role == "assistant" and position < last and content.startswith("<think>"):
            _, tag, after = content.partition("</think>")
            if tag:
                message = msgspec.structs.replace(message, content=after.lstrip())
        made.append(message)
    return tuple(made)


class _Records(Records[ChatChunk]):
    """Records as /api/chat has them."""

    def debug(self, prompt: str) -> ChatChunk:
        """The only record of a request that asked for the prompt."""
        return ChatChunk(
            model=self.model,
            created_at=self.clock.timestamp(),
            message=ReplyMessage(role="", content=""),
            done=False,
            debug_info=DebugInfo(rendered_template=prompt),
        )

    def chunk(self, piece: Piece, *, done: bool, done_reason: str = "") -> ChatChunk:
        return ChatChunk(
            model=self.model,
            created_at=self.clock.timestamp(),
            message=ReplyMessage(
                role="assistant",
                content=piece.content,
                thinking=piece.thinking,
                tool_calls=piece.tool_calls,
            ),
            done=done,
            done_reason=done_reason,
            logprobs=piece.logprobs,
        )
