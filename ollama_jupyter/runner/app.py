"""The runner's HTTP side: the protocol of `wire` over Tornado, in the main thread's loop.

A request becomes work for the engine and a mailbox that the engine's pieces come into. A closed
connection empties the mailbox and cancels the work.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tornado import httpserver, netutil, web
from tornado.iostream import StreamClosedError

from ollama_jupyter.errors import BadRequest, NotFound, OllamaError
from ollama_jupyter.runner import wire
from ollama_jupyter.runner.generation import Sink
from ollama_jupyter.runner.jinja import TemplateRenderer
from ollama_jupyter.runner.lifecycle import Runner
from ollama_jupyter.runner.outbox import Outcome

MAX_BODY_BYTES = 256 << 20
_ENCODER = msgspec.json.Encoder()
_STATUS_OF_HEALTH = {"ok": 200, "loading": 503, "error": 500}
_Request = TypeVar("_Request", bound=msgspec.Struct)

logger = logging.getLogger(__name__)


def deliver(pieces: Sequence[tuple[Sink, Outcome]]) -> None:
    """Hand the pieces of one engine step to their mailboxes, in the loop's thread."""
    for sink, outcome in pieces:
        if isinstance(outcome, Exception):
            sink.fail(outcome)
        else:
            sink.put(outcome)


class Mailbox:
    """Pieces of one answer on their way from the engine to the connection."""

    def __init__(self) -> None:
        self._pieces: list[wire.CompletionChunk | wire.EmbeddingReply] = []
        self._error: Exception | None = None
        self._arrived = asyncio.Event()
        self.is_closed = False

    def put(self, piece: wire.CompletionChunk | wire.EmbeddingReply) -> None:
        """One more piece."""
        self._pieces.append(piece)
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        """Nothing more comes but this."""
        self._error = error
        self._arrived.set()

    def close(self) -> None:
        """The reader went away."""
        self.is_closed = True
        self._arrived.set()

    async def take(self) -> list[wire.CompletionChunk | wire.EmbeddingReply]:
        """All pieces that arrived since the last call, at least one; none once it is closed.

        Raises:
            Exception: what the engine failed with, after the pieces before it.
        """
        if not self._pieces and self._error is None and not self.is_closed:
            self._arrived.clear()
            await self._arrived.wait()
        if self.is_closed:
            return []
        if not self._pieces and self._error is not None:
            raise self._error
        pieces, self._pieces = self._pieces, []
        return pieces


class _Handler(web.RequestHandler):
    """JSON in, JSON out; errors as RunnerFault."""

    runner: Runner
    renderer: TemplateRenderer

    def initialize(self, runner: Runner, renderer: TemplateRenderer) -> None:
        """Keep what the application shares."""
        self.runner = runner
        self.renderer = renderer
        self.mailbox = Mailbox()

    def on_connection_close(self) -> None:
        """Wake the handler, so that it cancels its work."""
        self.mailbox.close()

    def decode(self, kind: type[_Request]) -> _Request:
        """The request body.

        Raises:
            BadRequest: it is no such record.
        """
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"not a {kind.__name__}: {error}") from error

    def send(self, record: msgspec.Struct) -> None:
        """Write a record as the whole reply."""
        self.set_header("Content-Type", "application/json")
        self.finish(_ENCODER.encode(record))

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - Tornado's own
        """Answer with a fault; once a stream has begun, as its last line."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, OllamaError):
            status_code = error.status
        fault = wire.RunnerFault(error=str(error or self._reason), status=status_code)
        if self._headers_written:
            self.finish(_ENCODER.encode(fault) + b"\n")
            return
        self.set_status(status_code)
        self.send(fault)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:  # noqa: ANN401
        """As Tornado's, which would cut a stream that has begun without a word."""
        if self._headers_written and not self._finished:
            self.write_error(status_code, **kwargs)
            return
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401
        """Log what is a fault of ours; the others are in the reply."""
        if not isinstance(value, OllamaError | StreamClosedError):
            super().log_exception(typ, value, tb)


class _Unknown(_Handler):
    def prepare(self) -> None:
        raise NotFound(f"no route {self.request.path}")


class _Health(_Handler):
    def get(self) -> None:
        health = self.runner.health()
        self.set_status(_STATUS_OF_HEALTH[health.status])
        self.send(health)


class _Completion(_Handler):
    async def post(self) -> None:
        model = self.runner.model()
        work = await model.generation(self.decode(wire.CompletionRequest), self.mailbox)
        self.set_header("Content-Type", "application/x-ndjson")
        if self.mailbox.is_closed:
            work.close()
            return
        model.engine.submit(work)
        is_done = False
        try:
            while not is_done:
                pieces = await self.mailbox.take()
                if not pieces:
                    return
                self.write(b"".join(_ENCODER.encode(piece) + b"\n" for piece in pieces))
                last = pieces[-1]
                is_done = isinstance(last, wire.CompletionChunk) and last.done
                await self.flush()
        finally:
            if not is_done:
                model.engine.cancel(work)


class _Embedding(_Handler):
    async def post(self) -> None:
        model = self.runner.model()
        job = await model.embedding(self.decode(wire.EmbeddingRequest), self.mailbox)
        if not job.inputs:
            self.send(job.reply)
            return
        model.engine.submit(job)
        pieces: list[wire.CompletionChunk | wire.EmbeddingReply] = []
        try:
            pieces = await self.mailbox.take()
        finally:
            if not pieces:
                model.engine.cancel(job)
        if pieces:
            self.send(pieces[0])


class _Tokenize(_Handler):
    async def post(self) -> None:
        tokens = await self.runner.model().tokenize(self.decode(wire.TokenizeRequest))
        self.send(wire.TokenizeReply(tokens=tuple(tokens)))


class _Detokenize(_Handler):
    def post(self) -> None:
        request = self.decode(wire.DetokenizeRequest)
        self.send(wire.DetokenizeReply(text=self.runner.model().detokenize(request.tokens)))


class _ApplyTemplate(_Handler):
    async def post(self) -> None:
        model = self.runner.model()
        request = self.decode(wire.TemplateRequest)
        template = self.runner.spec.chat_template or model.chat_template
        if not template:
            raise BadRequest("the model has no chat template; send a prompt instead of messages")
        bos, eos = model.special_texts()
        prompt = await self.renderer.render(template, request, bos=bos, eos=eos)
        self.send(wire.TemplateReply(prompt=prompt))


def make_app(runner: Runner, renderer: TemplateRenderer) -> web.Application:
    """The routes of `wire`."""
    shared = {"runner": runner, "renderer": renderer}
    routes: list[tuple[str, type[_Handler]]] = [
        ("/health", _Health),
        ("/completion", _Completion),
        ("/embedding", _Embedding),
        ("/tokenize", _Tokenize),
        ("/detokenize", _Detokenize),
        ("/apply-template", _ApplyTemplate),
    ]
    return web.Application(
        [(path, handler, shared) for path, handler in routes],
        default_handler_class=_Unknown,
        default_handler_args=shared,
        log_function=_no_log,
    )


def _no_log(_handler: web.RequestHandler) -> None:
    """Requests are logged by the server, once."""


def listen(app: web.Application, socket_path: Path) -> httpserver.HTTPServer:
    """Serve the application at a Unix socket that only our user may open; the caller stops it."""
    server = httpserver.HTTPServer(
        app, max_body_size=MAX_BODY_BYTES, max_buffer_size=MAX_BODY_BYTES
    )
    server.add_socket(netutil.bind_unix_socket(str(socket_path), mode=0o600))
    return server
