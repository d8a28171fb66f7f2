"""One HTTP exchange: the body in, records out, and the only place that turns errors into HTTP.

A route's action is an `async def action(exchange, *path_parts)`. It reads its request with
`read`, and answers with exactly one of `send`, `send_empty`, `send_text` or `stream`, or raises.
A body is taken as it comes (`stream_request_body`), because the framework would otherwise parse
form-typed ones and hold large ones. Every record is flushed, and the flush awaited, so that a
client that reads slowly slows its own work and nothing else. A connection that closes cancels
the action, wherever it stands.

    before the first record   an error is `{"error": ...}` under its own status
    after it                  an error is one last record of the stream
"""

import asyncio
import contextlib
import http
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from ollama_jupyter.api.decode import decode
from ollama_jupyter.api.framing import NDJSON_CONTENT_TYPE, ndjson
from ollama_jupyter.api.native import encode, encode_error
from ollama_jupyter.errors import Busy, NotFound, OllamaError, RequestCanceled, Unauthorized
from ollama_jupyter.server.origins import Caller
from ollama_jupyter.server.services import Services

_log = logging.getLogger("ollama_jupyter.server")
_access_log = logging.getLogger("ollama_jupyter.access")

_JSON_TYPE = "application/json; charset=utf-8"
_TEXT_TYPE = "text/plain; charset=utf-8"
_LOGGED_NAME_CHARACTERS = 200

T = TypeVar("T", bound=msgspec.Struct)
Action = Callable[..., Awaitable[None]]
Sink = Callable[[bytes], Awaitable[None]]


class RequestTooLarge(OllamaError):
    """The body is larger than this server takes."""

    status = 413


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method of one path.

    Attributes:
        methods: HTTP methods, like ("GET", "HEAD").
        path: the path, with `:name` for a part that is handed to the action.
        action: answers, once the body is complete.
        is_upload: the action is called when the head is complete, and says where the body goes.
        needs_key: whether the route is closed to those without the key.
    """

    methods: tuple[str, ...]
    path: str
    action: Action
    is_upload: bool = False
    needs_key: bool = True


@stream_request_body
class Exchange(RequestHandler):
    """One request and its answer.

    Attributes:
        services: what actions work with.
        resources: closed when the exchange ends, however it ends.
    """

    services: Services
    resources: contextlib.ExitStack

    def initialize(self, *, services: Services, routes: dict[str, Route]) -> None:
        """Called by the framework with what the route table says of this path."""
        self.services = services
        self.resources = contextlib.ExitStack()
        self._sink: Sink | None = None
        self._routes = routes
        self._action: Callable[[], Awaitable[None]] = self._no_such_route
        self._is_refused = False
        self._body = bytearray()
        self._received_bytes = 0
        self._stall: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[Any] | None = None
        self._is_gone = False
        self._is_stopping = False
        self._has_streamed = False
        self._model_name = ""
        self._logged_status = 0
        self._is_concluded = False
        self._started_seconds = time.monotonic()

    def set_default_headers(self) -> None:
        """No word about the software, and no guessing of types."""
        self.clear_header("Server")
        self.clear_header("Content-Type")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> str | None:
        """No answer of this server is worth caching."""
        return None

    # --- the request ---------------------------------------------------------------------

    async def prepare(self) -> None:
        """Decide by the head alone.

        A refusal waits until a small body was read, so that the client is not cut off while it
        still writes.
        """
        self.services.activity.begin(self)
        self._watch_body()
        route = self._routes.get(self.request.method or "")
        admission = self.services.gate.admit(self._caller(route))
        for name, value in admission.headers.items():
            self.set_header(name, value)
        if admission.status == 401:
            self.refuse(Unauthorized("unauthorized"))
        elif admission.status is not None:
            self.answer_without_body(lambda: self.send_empty(admission.status or 403))
        elif route is None:
            self._is_refused = True
        elif self.services.activity.is_ending:
            self.refuse(Busy("the server is shutting down"))
        else:
            self._action = lambda: route.action(self, *self.path_args)
            if route.is_upload:
                await self._begin_upload(route.action)
            elif self._declared_bytes > self.services.limits.json_bytes:
                self.refuse(self._too_large())
        if self._is_refused and self._declared_bytes > self.services.limits.discard_bytes:
            await self._run()

    async def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body; called by the framework."""
        self._watch_body()
        self._received_bytes += len(chunk)
        limits = self.services.limits
        if self._is_refused:
            if self._received_bytes > limits.discard_bytes:
                await self._run()
        elif self._sink is not None:
            try:
                await self._sink(chunk)
            except OllamaError as error:
                self.refuse(error)
        elif self._received_bytes > limits.json_bytes:
            self._body.clear()
            self.refuse(self._too_large())
            await self._run()
        else:
            self._body += chunk

    def read(self, struct_type: type[T]) -> T:
        """The body as a request.

        Raises:
            BadRequest: it is none.
        """
        request = decode(struct_type, bytes(self._body))
        self._body.clear()
        self._model_name = str(getattr(request, "model", "") or getattr(request, "name", ""))
        return request

    def refuse(self, error: OllamaError) -> None:
        """Answer with this error instead of by the route's action; the body is not kept."""

        async def fail() -> None:
            raise error

        self.answer_without_body(fail)

    def answer_without_body(self, action: Callable[[], Awaitable[None]]) -> None:
        """Answer by `action` instead of by the route's; the body is not kept."""
        self._sink = None
        self._is_refused = True
        self._action = action

    def divert_body(self, sink: Sink, action: Callable[[], Awaitable[None]]) -> None:
        """Give the body to `sink` piece by piece, and answer by `action` when it is complete."""
        self._sink = sink
        self._action = action

    async def _begin_upload(self, begin: Action) -> None:
        try:
            await begin(self, *self.path_args)
        except OllamaError as error:
            self.refuse(error)

    def _caller(self, route: Route | None) -> Caller:
        headers = self.request.headers
        return Caller(
            method=self.request.method or "",
            host=headers.get("Host"),
            origin=headers.get("Origin"),
            fetch_site=headers.get("Sec-Fetch-Site", ""),
            authorization=headers.get("Authorization", ""),
            local_address=self._local_address(),
            needs_key=route is None or route.needs_key,
        )

    def _local_address(self) -> str:
        connection = self.request.connection
        if not isinstance(connection, HTTP1Connection) or connection.stream.socket is None:
            return ""
        name = connection.stream.socket.getsockname()
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def _declared_bytes(self) -> int:
        text = self.request.headers.get("Content-Length", "")
        return int(text) if text.isdigit() else 0

    def _too_large(self) -> RequestTooLarge:
        limit = self.services.limits.json_bytes
        return RequestTooLarge(f"request body too large: at most {limit} bytes are taken")

    def _watch_body(self) -> None:
        """(Re)start the clock that ends a connection whose body stands still."""
        if self._stall is not None:
            self._stall.cancel()
        loop = asyncio.get_running_loop()
        self._stall = loop.call_later(self.services.limits.read_seconds, self._drop)

    # --- the answer ----------------------------------------------------------------------

    async def send(self, record: msgspec.Struct, *, status: int = 200) -> None:
        """Answer with one JSON object."""
        await self._send(encode(record), _JSON_TYPE, status)

    async def send_large(self, record: msgspec.Struct) -> None:
        """The same for a record so large that the loop should not wait for its encoding."""
        await self._send(await asyncio.to_thread(encode, record), _JSON_TYPE, 200)

    async def send_text(self, text: str, *, status: int = 200) -> None:
        """Answer with plain text."""
        await self._send(text.encode(), _TEXT_TYPE, status)

    async def send_empty(self, status: int = 200) -> None:
        """Answer with a status alone."""
        self.set_status(status)
        await self._within_write_limit(self.finish())

    async def stream(self, records: AsyncGenerator[msgspec.Struct, None]) -> None:
        """Answer with one line a record, as they come; closes the generator."""
        async with contextlib.aclosing(records):
            async for record in records:
                if not self._has_streamed:
                    self.set_header("Content-Type", NDJSON_CONTENT_TYPE)
                    self._has_streamed = True
                self.write(ndjson(record))
                await self._within_write_limit(self.flush())
        await self._within_write_limit(self.finish())

    async def _send(self, body: bytes, content_type: str, status: int) -> None:
        self.set_status(status)
        self.set_header("Content-Type", content_type)
        self.write(body)
        await self._within_write_limit(self.finish())

    async def _within_write_limit(self, written: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self.services.limits.write_seconds):
                await written
        except TimeoutError:
            self._drop()
            raise StreamClosedError from None

    # --- the course of it ----------------------------------------------------------------

    async def _answer(self, *_path_parts: str) -> None:
        await self._run()

    get = head = post = put = patch = delete = options = _answer

    async def _run(self) -> None:
        """Carry out the action; every error of it ends here."""
        if self._stall is not None:
            self._stall.cancel()
        self._work = asyncio.current_task()
        try:
            await self._action()
        except asyncio.CancelledError:
            if self._work is None or not (self._is_gone or self._is_stopping):
                raise
            self._work.uncancel()
            await self._fail(Busy("the server is shutting down"))
        except StreamClosedError:
            self._is_gone = True
            await self._fail(RequestCanceled("request canceled"))
        except OllamaError as error:
            await self._fail(error)
        except Exception:  # noqa: BLE001 (a defect of ours costs one request, not the server)
            _log.exception("%s %s failed", self.request.method, self._path_pattern)
            await self._fail(OllamaError("internal error; the server's log says more"))
        finally:
            self._work = None
            self.resources.close()

    async def _fail(self, error: OllamaError) -> None:
        if self._is_gone:
            self._logged_status = RequestCanceled.status
            return
        self._logged_status = error.status
        body = encode_error(str(error))
        with contextlib.suppress(StreamClosedError):
            if not self._has_streamed:
                await self._send(body, _JSON_TYPE, error.status)
            elif not self._finished:
                self.write(body + b"\n")
                await self._within_write_limit(self.flush())
                await self._within_write_limit(self.finish())

    async def _no_such_route(self) -> None:
        if self._routes:
            await self.send_text("405 method not allowed", status=405)
        else:
            await self.send_text("404 page not found", status=NotFound.status)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:  # noqa: ANN401 (the framework's)
        """Answer what the framework itself refuses, such as a method nobody knows."""
        self.set_header("Content-Type", _JSON_TYPE)
        self.finish(encode_error(http.HTTPStatus(status_code).phrase.lower()))

    def stop(self) -> None:
        """End the exchange soon, with an error record; for a server that shuts down."""
        self._is_stopping = True
        if self._work is not None:
            self._work.cancel()
        elif not self._is_concluded:
            self._drop()

    def on_connection_close(self) -> None:
        """Cancel the work of a client that left; called by the framework."""
        super().on_connection_close()
        self._is_gone = True
        if self._work is not None:
            self._work.cancel()
        else:
            self.resources.close()
            self._logged_status = RequestCanceled.status
            self._conclude()

    def on_finish(self) -> None:
        """Note the end; called by the framework."""
        self._conclude()

    def _drop(self) -> None:
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.stream.close()

    def _conclude(self) -> None:
        if self._is_concluded:
            return
        self._is_concluded = True
        if self._stall is not None:
            self._stall.cancel()
        self.services.activity.end(self)
        _access_log.info(
            "%s %s %d %.1f ms%s",
            self.request.method,
            self._path_pattern,
            self._logged_status or self.get_status(),
            (time.monotonic() - self._started_seconds) * 1000,
            f" {self._model_name[:_LOGGED_NAME_CHARACTERS]!r}" if self._model_name else "",
        )

    @property
    def _path_pattern(self) -> str:
        """The route as the table spells it: a path itself could hold anything."""
        return next((route.path for route in self._routes.values()), "-")
