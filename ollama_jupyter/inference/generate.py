"""POST /api/generate, from a request to the records of its reply.

A prompt is one question of a conversation without a past, unless the request takes the template
into its own hands: `raw` uses none, `template` another, `suffix` fills a gap, and `context` puts
tokens of an earlier answer before it all.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from ollama_jupyter.api.options import Options, merge
from ollama_jupyter.api.types import (
    DebugInfo,
    GenerateChunk,
    GenerateRequest,
    Message,
    ProgressChunk,
    Think,
)
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import BadRequest, NotFound, UnsupportedCapability
from ollama_jupyter.inference.completion import (
    Outcome,
    Piece,
    answer,
)
from ollama_jupyter.inference.prompting import (
    Conversation,
    build_prompt,
    new_output,
    parsed_template,
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
from ollama_jupyter.prompt.render import render_generate
from ollama_jupyter.prompt.truncate import Prompt
from ollama_jupyter.quantities import keep_alive_from_json
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.runner.wire import DetokenizeRequest, TokenizeRequest
from ollama_jupyter.scheduler.scheduler import Lease


async def generate(
    rooms: Rooms, request: GenerateRequest
) -> AsyncGenerator[GenerateChunk | ProgressChunk, None]:
    """The records of a reply; the last has `done`. Closing the generator cancels the work.

    Raises:
        OllamaError: whatever went wrong, before or after the first record.
    """
    records = _Records(rooms.clock, request.model)
    check_top_logprobs(request.top_logprobs)
    keep_alive_ns = keep_alive_from_json(request.keep_alive)
    missing = f"model '{request.model}' not found"
    if not request.model.strip():
        raise NotFound(missing)
    model = await resolve(rooms, request.model, missing=missing)
    if not request.prompt and keep_alive_ns == 0:
        await rooms.scheduler.unload(model)
        yield records.single("unload")
        return
    think = _check(rooms, model, request)
    options = merge(model.parameters, request.options)

    def reply(lease: Lease) -> AsyncGenerator[GenerateChunk | ProgressChunk, None]:
        return _reply(records, model, lease, request, options, think)

    wanted = reply if request.prompt else None
    async with aclosing(with_runner(rooms, model, request, options, records, wanted)) as stream:
        async for record in stream:
            yield record


async def _reply(
    records: "_Records",
    model: Model,
    lease: Lease,
    request: GenerateRequest,
    options: Options,
    think: Think | None,
) -> AsyncGenerator[GenerateChunk | ProgressChunk, None]:
    """The records of an answer, from a runner that is ready."""
    num_ctx = min(options.num_ctx or lease.num_ctx, lease.num_ctx)
    prompt = await _prompt(model, lease.runner, request, think=think, num_ctx=num_ctx)
    if request.debug_render_only:
        yield records.debug(prompt.text)
        return
    parsed = None if request.raw else think
    closing = thinking_tags(model)[1] if parsed else ""
    completion = completion_request(
        request,
        prompt=prompt.text,
        options=options,
        num_ctx=num_ctx,
        grammar=grammar_of(request.format, after=closing),
    )
    items = answer(
        lease.runner, completion, lambda: new_output(model, prompt=prompt.text, think=parsed)
    )
    async with aclosing(items):
        async for item in items:
            match item:
                case Progress():
                    yield records.progress(item)
                case Piece():
                    yield records.piece(item)
                case Outcome():
                    context: tuple[int, ...] = ()
                    if not request.raw:
                        before = await lease.runner.tokenize(TokenizeRequest(text=prompt.text))
                        context = (*before.tokens, *item.tokens)
                    last = records.last(item, dropped=prompt.dropped)
                    yield msgspec.structs.replace(last, context=context)


def _check(rooms: Rooms, model: Model, request: GenerateRequest) -> Think | None:
    """What the request says about thinking, when it makes sense and the model can do it all.

    Raises:
        BadRequest: it does not, the model cannot, or the format is none.
    """
    if "image" in model.capabilities:
        raise BadRequest("image generation models are not currently supported")
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context")
    think = settle_think(model, request.model, request.think)
    if "completion" not in model.capabilities:
        raise UnsupportedCapability(f'"{request.model}" does not support generate')
    rooms.catalog.check(model, *(("insert",) if request.suffix else ()))
    refuse_images(model, len(request.images))
    if request.template:
        parsed_template(request.template)
    grammar_of(request.format)
    return think


async def _prompt(
    model: Model,
    runner: RunnerClient,
    request: GenerateRequest,
    *,
    think: Think | None,
    num_ctx: int,
) -> Prompt:
    """The text the model continues."""
    if request.raw:
        return Prompt(text=request.prompt, images=(), dropped=0)
    before = ""
    if request.context:
        before = (await runner.detokenize(DetokenizeRequest(tokens=request.context))).text
    messages = _messages(model, request)
    if request.suffix or request.template:
        # A request's own template may use up all its steps, so the loop does not wait for it.
        text = await asyncio.to_thread(
            render_generate,
            parsed_template(request.template or model.template),
            messages,
            prompt=request.prompt,
            suffix=request.suffix,
            think=think,
        )
        prompt = Prompt(text=text, images=(), dropped=0)
    else:
        conversation = Conversation(
            messages=messages,
            think=think,
            num_ctx=num_ctx,
            truncate=request.truncate is not False,
        )
        prompt = await build_prompt(model, runner, conversation)
    return Prompt(text=before + prompt.text, images=prompt.images, dropped=prompt.dropped)


def _messages(model: Model, request: GenerateRequest) -> tuple[Message, ...]:
    """The prompt as the last of what the model brings; a context already holds that."""
    system = request.system or model.system
    first = (Message(role="system", content=system),) if system else ()
    stored = () if request.context else model.messages
    return (*first, *stored, Message(role="user", content=request.prompt))


class _Records(Records[GenerateChunk]):
    """Records as /api/generate has them."""

    def debug(self, prompt: str) -> GenerateChunk:
        """The only record of a request that asked for the prompt."""
        chunk = self.chunk(Piece(), done=False)
        return msgspec.structs.replace(chunk, debug_info=DebugInfo(rendered_template=prompt))

    def chunk(self, piece: Piece, *, done: bool, done_reason: str = "") -> GenerateChunk:
        return GenerateChunk(
            model=self.model,
            created_at=self.clock.timestamp(),
            response=piece.content,
            thinking=piece.thinking,
            done=done,
            done_reason=done_reason,
            logprobs=piece.logprobs,
        )
