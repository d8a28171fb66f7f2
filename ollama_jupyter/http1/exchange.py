"""One HTTP/1.1 exchange as a client, over TCP or a Unix socket, on Tornado's HTTP1Connection.

A connection carries one exchange and is closed with it: closing is how the other side learns that
nobody wants the answer any more. Whoever got a `Response` closes it; `async with` does. The body
is handed over piece by piece and nothing is read ahead beyond one piece, so a slow reader slows the
sender down instead of filling memory.

Failures are the builtin ones: OSError when there is nobody, ConnectionResetError when the
connection broke or what came was no HTTP, TimeoutError when a limit passed.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

Address = Path | tuple[str, int]
Body = bytes | AsyncIterator[bytes]

_UNLIMITED_BYTES: Final = 1 << 62
_PIECE_BYTES: Final = 1 << 16


class _Inbox(HTTPMessageDelegate):
    """What Tornado reads, held one piece at a time until it is asked for."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.head: asyncio.Future[tuple[ResponseStartLine, HTTPHeaders]] = loop.create_future()
        self.is_complete = False
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._taken = asyncio.Event()
        self._is_open = True

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Keep the head; informational ones before the real one are passed over."""
        if isinstance(start_line, ResponseStartLine) and start_line.code >= 200:
            self.head.set_result((start_line, headers))

    async def data_received(self, chunk: bytes) -> None:
        """Take a piece, and wait until somebody asked for the next one."""
        if self._is_open:
            self._taken.clear()
            self._pieces.put_nowait(chunk)
            await self._taken.wait()

    def finish(self) -> None:
        """The body is whole."""
        self.is_complete = True

    def end(self) -> None:
        """Nothing more will come."""
        self._pieces.put_nowait(None)
        if not self.head.done():
            self.head.cancel()

    def refuse(self) -> None:
        """Let a reading task go on that waits for a piece to be taken."""
        self._is_open = False
        self._taken.set()

    async def take(self) -> bytes | None:
        """The next piece; None at the end."""
        self._taken.set()
        piece = await self._pieces.get()
        if piece is None:
            self._pieces.put_nowait(None)
        return piece


class Response:
    """The answer to one request: its head at once, its body as it comes.

    Attributes:
        status: the HTTP status.
        reason: its text.
        headers: as sent, by any case of their names.
    """

    def __init__(
        self,
        head: tuple[ResponseStartLine, HTTPHeaders],
        running: "_Running",
        idle_timeout_seconds: float | None,
    ) -> None:
        start_line, self.headers = head
        self.status: int = start_line.code
        self.reason: str = start_line.reason
        self._running = running
        self._idle_timeout_seconds = idle_timeout_seconds

    def __aiter__(self) -> Self:
        """The body's pieces, none of them empty; there is one pass."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece.

        Raises:
            StopAsyncIteration: the body is whole.
            ConnectionResetError: it broke before its end.
            TimeoutError: nothing came for the idle timeout.
        """
        async with asyncio.timeout(self._idle_timeout_seconds):
            piece = await self._running.inbox.take()
        if piece is not None:
            return piece
        if not self._running.inbox.is_complete:
            raise ConnectionResetError("the connection broke in the middle of a response")
        raise StopAsyncIteration

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            ConnectionResetError: it broke before its end, or is longer than `limit_bytes`.
            TimeoutError: nothing came for the idle timeout.
        """
        body = bytearray()
        async for piece in self:
            body += piece
            if len(body) > limit_bytes:
                raise ConnectionResetError(f"a response is longer than {limit_bytes} bytes")
        return bytes(body)

    async def close(self) -> None:
        """Close the connection; what was not read is lost. Safe to call twice."""
        await self._running.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class _Running:
    """The tasks and the socket of one exchange; closes all of them together."""

    def __init__(self, stream: IOStream) -> None:
        self.inbox = _Inbox()
        self._stream = stream
        self._connection = HTTP1Connection(
            stream,
            is_client=True,
            params=HTTP1ConnectionParameters(
                no_keep_alive=True, chunk_size=_PIECE_BYTES, max_body_size=_UNLIMITED_BYTES
            ),
        )
        self._reading: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None

    def send(self, start_line: RequestStartLine, headers: HTTPHeaders, body: Body) -> None:
        """Start writing the request and reading the answer."""
        if isinstance(body, bytes):
            self._connection.write_headers(start_line, headers, body or None)
            self._connection.finish()
        else:
            self._connection.write_headers(start_line, headers)
            self._sending = asyncio.create_task(self._send_pieces(body), name="http1 send")
        self._reading = asyncio.create_task(self._read(), name="http1 read")

    async def _send_pieces(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for piece in body:
                if piece:
                    await self._connection.write(piece)
            self._connection.finish()
        except StreamClosedError:
            return  # the reader reports it, unless an early answer was the reason

    async def _read(self) -> None:
        try:
            await self._connection.read_response(self.inbox)
        except StreamClosedError:
            return
        finally:
            self.inbox.end()

    async def close(self) -> None:
        """Close the socket and wait for the tasks, which end with it."""
        self._stream.close()
        self.inbox.refuse()
        if self._sending is not None:
            # It may wait for the giver of the body, which does not end with the socket.
            self._sending.cancel()
        tasks = [task for task in (self._reading, self._sending) if task is not None]
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()


async def send(
    address: Address,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Body = b"",
    connect_timeout_seconds: float = 5.0,
    head_timeout_seconds: float | None = None,
    idle_timeout_seconds: float | None = None,
) -> Response:
    """The response to one request, as soon as its head is there; the caller closes it.

    Args:
        address: the path of a Unix socket, or a host and port.
        method: an HTTP method.
        path: the request target, beginning with a slash.
        headers: sent besides Host and the framing ones.
        body: whole, or in pieces that are sent as they come.
        connect_timeout_seconds: limit for reaching the other side.
        head_timeout_seconds: limit for the head of the response; None waits for ever.
        idle_timeout_seconds: limit between two pieces of its body; None waits for ever.

    Raises:
        OSError: nobody listens there.
        ConnectionResetError: the connection broke before the head was complete.
        TimeoutError: a limit passed.
    """
    stream = await _connect(address, connect_timeout_seconds)
    running = _Running(stream)
    try:
        running.send(
            RequestStartLine(method, path, "HTTP/1.1"), _heads(address, headers, body), body
        )
        async with asyncio.timeout(head_timeout_seconds):
            await asyncio.wait([running.inbox.head])
        if running.inbox.head.cancelled():
            raise ConnectionResetError(f"the connection broke before {method} {path} was answered")
        return Response(running.inbox.head.result(), running, idle_timeout_seconds)
    except BaseException:
        await running.close()
        raise


def _heads(address: Address, headers: Mapping[str, str] | None, body: Body) -> HTTPHeaders:
    sent = HTTPHeaders()
    sent["Host"] = "localhost" if isinstance(address, Path) else _authority(*address)
    for name, value in (headers or {}).items():
        sent[name] = value
    sent["Connection"] = "close"
    if isinstance(body, bytes):
        sent["Content-Length"] = str(len(body))
    return sent


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _connect(address: Address, timeout_seconds: float) -> IOStream:
    async with asyncio.timeout(timeout_seconds):
        try:
            if not isinstance(address, Path):
                return await TCPClient().connect(*address)
            return await _connect_unix(address)
        except StreamClosedError as error:
            cause = error.real_error
            if isinstance(cause, OSError):
                raise cause from None
            raise ConnectionResetError(f"cannot connect to {address}") from error


async def _connect_unix(path: Path) -> IOStream:
    stream = IOStream(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        await stream.connect(str(path))
    except BaseException:
        stream.close()
        raise
    return stream
