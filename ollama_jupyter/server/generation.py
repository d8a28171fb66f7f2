"""Answers of a model: /api/generate, /api/chat, /api/embed and /api/embeddings.

The work is done by `inference`; here a reply becomes a stream, or one object with everything in
it (`"stream": false`).
"""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import msgspec

from ollama_jupyter.api.types import (
    ChatChunk,
    ChatRequest,
    EmbeddingRequest,
    EmbedRequest,
    GenerateChunk,
    GenerateRequest,
    ProgressChunk,
)
from ollama_jupyter.errors import RunnerError
from ollama_jupyter.inference.chat import chat
from ollama_jupyter.inference.embed import embed, embed_one
from ollama_jupyter.inference.generate import generate
from ollama_jupyter.server.requests import Exchange

ChunkType = TypeVar("ChunkType", ChatChunk, GenerateChunk)

# A reply that did nothing but load, unload or render is one object, streamed or not.
_SINGLE_REASONS = ("load", "unload")


async def answer_chat(exchange: Exchange) -> None:
    """POST /api/chat."""
    request = exchange.read(ChatRequest)
    chunks = chat(exchange.services.rooms, request)
    await _answer(exchange, chunks, join_chat, is_streamed=request.stream is not False)


async def answer_generate(exchange: Exchange) -> None:
    """POST /api/generate."""
    request = exchange.read(GenerateRequest)
    chunks = generate(exchange.services.rooms, request)
    await _answer(exchange, chunks, join_generate, is_streamed=request.stream is not False)


async def answer_embed(exchange: Exchange) -> None:
    """POST /api/embed."""
    request = exchange.read(EmbedRequest)
    await exchange.send_large(await embed(exchange.services.rooms, request))


async def answer_embeddings(exchange: Exchange) -> None:
    """POST /api/embeddings, the older form of embed."""
    request = exchange.read(EmbeddingRequest)
    await exchange.send(await embed_one(exchange.services.rooms, request))


async def _answer(
    exchange: Exchange,
    chunks: AsyncGenerator[ChunkType | ProgressChunk, None],
    join: Callable[[list[ChunkType]], ChunkType],
    *,
    is_streamed: bool,
) -> None:
    async with contextlib.aclosing(chunks):
        if not is_streamed:
            parts = [chunk async for chunk in chunks if not isinstance(chunk, ProgressChunk)]
            if not parts:
                raise RunnerError("the model gave no answer")
            await exchange.send(join(parts))
            return
        first = await anext(chunks)
        if not isinstance(first, ProgressChunk) and _is_single(first):
            await exchange.send(first)
        else:
            await exchange.stream(_chain(first, chunks))


def _is_single(chunk: ChatChunk | GenerateChunk) -> bool:
    return chunk.done_reason in _SINGLE_REASONS or chunk.debug_info is not None


async def _chain(
    first: msgspec.Struct, rest: AsyncGenerator[ChunkType | ProgressChunk, None]
) -> AsyncGenerator[msgspec.Struct, None]:
    yield first
    async for chunk in rest:
        yield chunk


def join_chat(chunks: list[ChatChunk]) -> ChatChunk:
    """All pieces of a reply on its last record; `chunks` is not empty."""
    last = chunks[-1]
    message = msgspec.structs.replace(
        last.message,
        content="".join(chunk.message.content for chunk in chunks),
        thinking="".join(chunk.message.thinking for chunk in chunks),
        tool_calls=tuple(call for chunk in chunks for call in chunk.message.tool_calls),
    )
    logprobs = tuple(entry for chunk in chunks for entry in chunk.logprobs)
    return msgspec.structs.replace(last, message=message, logprobs=logprobs)


def join_generate(chunks: list[GenerateChunk]) -> GenerateChunk:
    """All pieces of a reply on its last record; `chunks` is not empty."""
    return msgspec.structs.replace(
        chunks[-1],
        response="".join(chunk.response for chunk in chunks),
        thinking="".join(chunk.thinking for chunk in chunks),
        tool_calls=tuple(call for chunk in chunks for call in chunk.tool_calls),
        logprobs=tuple(entry for chunk in chunks for entry in chunk.logprobs),
    )
