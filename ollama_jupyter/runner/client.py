"""The server's side of the runner protocol: every call of `wire` as a method.

A call is one connection; leaving it early closes that connection, which stops the work in the
runner. A fault the runner reports comes out as the error a client should see; a connection that
breaks comes out as `RunnerDied`, because nothing else ends one.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ollama_jupyter.errors import BadRequest, Busy, OllamaError, RunnerDied, RunnerError
from ollama_jupyter.http1 import exchange
from ollama_jupyter.runner.wire import (
    CompletionChunk,
    CompletionRequest,
    DetokenizeReply,
    DetokenizeRequest,
    EmbeddingReply,
    EmbeddingRequest,
    Health,
    RunnerFault,
    TemplateReply,
    TemplateRequest,
    TokenizeReply,
    TokenizeRequest,
)

_T = TypeVar("_T")

DIED_TEXT: Final = (
    "model runner has unexpectedly stopped, this may be due to resource limitations"
    " or an internal error, check ollama server logs for details"
)
_LINE_LIMIT_BYTES: Final = 8 << 20
_REPLY_LIMIT_BYTES: Final = 1 << 30
_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_FAULT_START: Final = b'{"error":'


class RunnerClient:
    """Speaks to one runner; holds no connection between calls, so there is nothing to close.

    Attributes:
        socket_path: where the runner listens.
        heard_seconds: when it last sent a piece of an answer, by `time.monotonic`; 0 before.
    """

    def __init__(self, socket_path: Path) -> None:
        """Remember where the runner listens."""
        self.socket_path = socket_path
        self.heard_seconds = 0.0

    async def health(self, timeout_seconds: float) -> Health:
        """What the runner says of itself, also while it loads or failed to.

        Raises:
            RunnerDied: nobody listens (yet, or any more).
            TimeoutError: no answer in time.
        """
        async with self._exchange("GET", "/health", b"", timeout_seconds) as response:
            return _decoded(await response.read(_LINE_LIMIT_BYTES), Health)

    async def completion(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk, None]:
        """The pieces of an answer; the last one has `done`. Closing the iterator cancels.

        Raises:
            BadRequest, Busy, RunnerError: what the runner reported.
            RunnerDied: it ended before the answer did.
        """
        body = msgspec.json.encode(request)
        async with self._exchange("POST", "/completion", body, None) as response:
            if response.status != 200:
                raise _error_of(await response.read(_LINE_LIMIT_BYTES))
            async with aclosing(_lines(response)) as lines:
                async for line in lines:
                    self.heard_seconds = time.monotonic()
                    if line.startswith(_FAULT_START):
                        raise _error_of(line)
                    chunk = _decoded(line, CompletionChunk)
                    yield chunk
                    if chunk.done:
                        return
        raise RunnerDied(DIED_TEXT)

    async def embedding(self, request: EmbeddingRequest) -> EmbeddingReply:
        """Vectors of the inputs, in their order; raises as `completion`."""
        return await self._call("/embedding", request, EmbeddingReply)

    async def tokenize(self, request: TokenizeRequest) -> TokenizeReply:
        """Token ids of a text; raises as `completion`."""
        return await self._call("/tokenize", request, TokenizeReply)

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeReply:
        """The text of token ids; raises as `completion`."""
        return await self._call("/detokenize", request, DetokenizeReply)

    async def apply_template(self, request: TemplateRequest) -> TemplateReply:
        """Messages as the model's own Jinja template renders them; raises as `completion`."""
        return await self._call("/apply-template", request, TemplateReply)

    async def _call(self, path: str, request: msgspec.Struct, reply: type[_T]) -> _T:
        body = msgspec.json.encode(request)
        async with self._exchange("POST", path, body, None) as response:
            answer = await response.read(_REPLY_LIMIT_BYTES)
            if response.status != 200:
                raise _error_of(answer)
            return _decoded(answer, reply)

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: bytes, timeout_seconds: float | None
    ) -> AsyncIterator[exchange.Response]:
        """A response that is closed at the end; broken connections become `RunnerDied`.

        There is no timeout on an answer in progress: a long prompt is silent for as long as it
        takes. Whether a silent runner still lives is for `process` to say, which kills it if not.
        """
        try:
            async with await exchange.send(
                self.socket_path,
                method,
                path,
                headers={"Content-Type": "application/json"} if body else None,
                body=body,
                connect_timeout_seconds=timeout_seconds or _CONNECT_TIMEOUT_SECONDS,
                head_timeout_seconds=timeout_seconds,
                idle_timeout_seconds=timeout_seconds,
            ) as response:
                yield response
        except TimeoutError:
            if timeout_seconds is None:
                raise RunnerDied(DIED_TEXT) from None
            raise
        except OSError as error:
            raise RunnerDied(DIED_TEXT) from error


async def _lines(response: exchange.Response) -> AsyncGenerator[bytes, None]:
    """The body's lines without their ends, as soon as each is whole."""
    rest = bytearray()
    async for piece in response:
        start = len(rest)
        rest += piece
        if b"\n" in piece:
            *lines, last = rest.split(b"\n")
            for line in lines:
                yield bytes(line)
            rest = last
        elif start > _LINE_LIMIT_BYTES:
            raise RunnerError("runner response stream event exceeded 8 MB limit")


def _decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunnerError(f"the runner sent what is no {kind.__name__}: {error}") from error


def _error_of(data: bytes) -> OllamaError:
    fault = _decoded(data, RunnerFault)
    if fault.status == 400:
        return BadRequest(fault.error)
    return Busy(fault.error) if fault.status == 503 else RunnerError(fault.error)
