"""POST /api/embed and /api/embeddings: vectors of texts.

Inputs are cut here, not by the runner, because how many tokens one may have depends on whether it
begins and ends with the model's own marks. All inputs of a request go to the runner in one call,
which packs them into as few decodes as fit.
"""

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from ollama_jupyter.api.options import merge
from ollama_jupyter.api.types import JSON, EmbeddingRequest, EmbedRequest, EmbedResponse
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import BadRequest, NotFound
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.inference.rooms import Rooms, resolve
from ollama_jupyter.names import ModelRef
from ollama_jupyter.quantities import keep_alive_from_json
from ollama_jupyter.runner import wire
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.scheduler.scheduler import Lease

_LEAST_NORM: Final = 1e-12
# Marks a tokenizer may add at either end, and a blank in front.
_SPARE_TOKENS: Final = 8


class EmbeddingResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of /api/embeddings: one vector, as the model gave it."""

    embedding: tuple[float, ...]


async def embed(rooms: Rooms, request: EmbedRequest) -> EmbedResponse:
    """A vector of length 1 for each input.

    Raises:
        OllamaError: the input is no text or list of texts, there is no such model, an input is
            too long and may not be cut, or the runner failed.
    """
    started_ns = rooms.clock.monotonic_ns()
    inputs = _inputs(request.input)
    try:
        ModelRef.parse(request.model)
    except BadRequest as error:
        raise NotFound(f"model '{request.model}' not found") from error
    model = await _resolve(rooms, request.model)
    async with _leased(rooms, model, request.keep_alive, request.options) as (lease, num_ctx):
        if not inputs:
            return EmbedResponse(model=request.model, embeddings=[])
        ready_ns = rooms.clock.monotonic_ns()
        fitting = [
            await _fit(lease.runner, model, text, num_ctx, truncate=request.truncate is not False)
            for text in inputs
        ]
        reply = await lease.runner.embedding(wire.EmbeddingRequest(inputs=tuple(fitting)))
    vectors = await asyncio.to_thread(_finished, reply.embeddings, request.dimensions)
    return EmbedResponse(
        model=request.model,
        embeddings=vectors,
        total_duration=rooms.clock.monotonic_ns() - started_ns,
        load_duration=ready_ns - started_ns,
        prompt_eval_count=reply.prompt_tokens,
    )


async def embed_one(rooms: Rooms, request: EmbeddingRequest) -> EmbeddingResponse:
    """The vector of one text, as long as the model made it.

    Raises:
        OllamaError: as `embed`.
    """
    model = await _resolve(rooms, request.model)
    async with _leased(rooms, model, request.keep_alive, request.options) as (lease, num_ctx):
        if not request.prompt:
            return EmbeddingResponse(embedding=())
        text = await _fit(lease.runner, model, request.prompt, num_ctx, truncate=True)
        reply = await lease.runner.embedding(wire.EmbeddingRequest(inputs=(text,)))
    return EmbeddingResponse(embedding=reply.embeddings[0])


async def _resolve(rooms: Rooms, text: str) -> Model:
    return await resolve(rooms, text, missing=f'model "{text}" not found, try pulling it first')


@asynccontextmanager
async def _leased(
    rooms: Rooms, model: Model, keep_alive: JSON, options: Mapping[str, JSON] | None
) -> AsyncIterator[tuple[Lease, int]]:
    """A runner, and the tokens one input may have with all its marks."""
    merged = merge(model.parameters, options)
    async with rooms.scheduler.lease(
        model,
        options=merged.runner(),
        keep_alive_ns=keep_alive_from_json(keep_alive),
        shift=None,
        on_progress=None,
    ) as lease:
        trained = model.metadata.context_length or lease.num_ctx
        yield lease, min(merged.num_ctx or lease.num_ctx, lease.num_ctx, trained)


def _inputs(value: JSON) -> tuple[str, ...]:
    """The texts of an `input`; none for an empty one.

    Raises:
        BadRequest: it is neither a text nor a list of texts.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadRequest("invalid input type")
    return tuple(value)


async def _fit(
    runner: RunnerClient, model: Model, text: str, num_ctx: int, *, truncate: bool
) -> str:
    """The text, cut to the tokens an input may have.

    Raises:
        BadRequest: it is too long and may not be cut, or nothing would be left.
    """
    if len(text.encode()) + _SPARE_TOKENS <= num_ctx:
        return text
    tokens = (await runner.tokenize(wire.TokenizeRequest(text=text))).tokens
    limit = num_ctx - _added_marks(model.metadata, tokens)
    if len(tokens) <= limit:
        return text
    if not truncate:
        raise BadRequest(
            f"the input length exceeds the context length: {len(tokens)} tokens, at most {limit}"
        )
    if limit <= 0:
        raise BadRequest("input after truncation exceeds maximum context length")
    return (await runner.detokenize(wire.DetokenizeRequest(tokens=tokens[:limit]))).text


def _added_marks(metadata: Metadata, tokens: Sequence[int]) -> int:
    """How many marks will be added around these tokens, as the reference counts them."""
    added = 0
    for mark, place in (("bos", 0), ("eos", -1)):
        is_there = bool(tokens) and tokens[place] == (
            metadata.integer(f"tokenizer.ggml.{mark}_token_id") or 0
        )
        added += not is_there
    return added


def _finished(embeddings: Sequence[Sequence[float]], dimensions: int) -> list[list[float]]:
    """Vectors of length 1, cut to the dimensions asked for; slow when there are many."""
    vectors = [_normalised(vector) for vector in embeddings]
    if not dimensions > 0:
        return vectors
    return [
        _normalised(vector[:dimensions]) if dimensions < len(vector) else vector
        for vector in vectors
    ]


def _normalised(vector: Sequence[float]) -> list[float]:
    """The vector divided by its length, each component a float32.

    Raises:
        BadRequest: a component is no finite number.
    """
    if not all(math.isfinite(component) for component in vector):
        raise BadRequest("embedding contains NaN or Inf values")
    norm = max(math.sqrt(math.fsum(component * component for component in vector)), _LEAST_NORM)
    return array("f", (component / norm for component in vector)).tolist()
