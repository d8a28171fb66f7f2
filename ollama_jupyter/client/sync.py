"""A blocking HTTP client for one server, over TCP or a Unix socket.

One connection a call: closing it is how the work behind it is cancelled. It reads with plain
blocking calls in the caller's thread, so an interrupt of a kernel or a terminal reaches it at
once; `Stream.close` may come from another thread.
"""

import contextlib
import hashlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self
from urllib.parse import urlsplit

import msgspec

from ollama_jupyter.client import calls
from ollama_jupyter.client.calls import Call
from ollama_jupyter.config import Host
from ollama_jupyter.errors import BadRequest, ServerError, ServerUnreachable
from ollama_jupyter.names import Digest
from ollama_jupyter.version import __version__

_CHUNK_BYTES: Final = 64 * 1024
_UPLOAD_CHUNK_BYTES: Final = 1024 * 1024
# A record holds at most one answer or one list of vectors; more is a broken or hostile server.
_LINE_LIMIT_BYTES: Final = 256 * 1024 * 1024
_Body = bytes | Iterator[bytes] | None


class Client:
    """Carries out calls on one server; holds no connection between them.

    Args:
        host: where the server listens.
        api_key: sent as a bearer key with every request; None sends none.
        connect_timeout_seconds: how long to wait for the connection itself.
        read_timeout_seconds: how long a reply may stand still; None for ever, as the load of a
            large model may take its time.
    """

    def __init__(
        self,
        host: Host,
        *,
        api_key: str | None = None,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float | None = None,
    ) -> None:
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise BadRequest("the API key holds characters no HTTP header can carry")
        self.host = host.connectable
        self._api_key = api_key
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds

    def __repr__(self) -> str:
        return f"Client({self.host.url!r})"

    def request(self, call: Call) -> Any:  # noqa: ANN401 - a JSON value from outside
        """The decoded JSON reply; its text when it is no JSON, None when it is empty.

        Raises:
            ServerError: the server answered with an error.
            ServerUnreachable: there is no server, or it broke off.
        """
        with self._send(call) as exchange:
            return exchange.read_value()

    def stream(self, call: Call) -> "Stream":
        """The records of a streaming call, once the server has accepted it; close it when done.

        Raises:
            ServerError: the server refused.
            ServerUnreachable: there is no server, or it broke off.
        """
        return Stream(self._send(call))

    def has_blob(self, digest: Digest) -> bool:
        """Whether the server holds that content.

        Raises:
            ServerError: the server refused.
            ServerUnreachable: there is no server, or it broke off.
        """
        try:
            self.request(calls.has_blob(digest))
        except ServerError as error:
            if error.http_status == 404:
                return False
            raise
        return True

    def upload(
        self, path: Path, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Digest:
        """Hand the content of a file to the server, unless it has it, and give back its digest.

        Args:
            path: the file; read twice, once for its digest.
            on_progress: told the bytes sent so far and in all.

        Raises:
            BadRequest: the file cannot be read.
            ServerError: the server refused.
            ServerUnreachable: there is no server, or it broke off.
        """
        try:
            with path.open("rb") as file:
                digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
                if self.has_blob(digest):
                    return digest
                size = file.seek(0, 2)
                file.seek(0)
                pieces = _pieces(file, size, on_progress)
                headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
                with self._send(calls.upload_blob(digest), body=pieces, headers=headers) as sent:
                    sent.read_value()
        except OSError as error:
            raise BadRequest(f"cannot read {str(path)!r}: {error.strerror}") from error
        return digest

    def _send(
        self, call: Call, *, body: _Body = None, headers: Mapping[str, str] | None = None
    ) -> "_Exchange":
        """Open a connection, send the request and read the reply's head."""
        sent_headers = {"User-Agent": f"ollama_jupyter/{__version__}", **(headers or {})}
        if body is None:
            body = call.encode_body()
            if body is not None:
                sent_headers["Content-Type"] = "application/json"
        if self._api_key is not None:
            sent_headers["Authorization"] = f"Bearer {self._api_key}"
        prefix = "" if self.host.socket_path else urlsplit(self.host.url).path
        connection = self._connection()
        exchange = _Exchange(connection, self.host)
        with exchange.closed_on_failure():
            connection.connect()
            connection.sock.settimeout(self._read_timeout_seconds)
            # A server that refuses early may close while we send; its reply says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(call.method, prefix + call.path, body, sent_headers)
            exchange.read_head()
        return exchange

    def _connection(self) -> http.client.HTTPConnection:
        seconds = self._connect_timeout_seconds
        if self.host.socket_path is not None:
            return _UnixConnection(self.host.socket_path, seconds)
        if self.host.scheme == "https":
            return http.client.HTTPSConnection(self.host.dial_name, self.host.port, timeout=seconds)
        return http.client.HTTPConnection(self.host.dial_name, self.host.port, timeout=seconds)


class Stream:
    """The records of one reply, as they arrive; an iterator and a context manager.

    It ends where the reply ends, and then closes itself. `close` cancels the work behind it, at
    any time and from any thread; the iteration then just ends.
    """

    def __init__(self, exchange: "_Exchange") -> None:
        self._exchange = exchange
        self._lines = exchange.read_lines()
        self._closed = threading.Event()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        """The next record.

        Raises:
            ServerError: the record reports an error.
            ServerUnreachable: the server broke off before the reply was complete.
        """
        try:
            for line in self._lines:
                return self._exchange.decode_record(line)
        except ServerUnreachable:
            if not self._closed.is_set():
                self.close()
                raise
        except BaseException:
            self.close()
            raise
        self._exchange.close()
        raise StopIteration

    @property
    def is_closed(self) -> bool:
        """Whether it was closed before the reply had ended."""
        return self._closed.is_set()

    def close(self) -> None:
        """Close the connection; the server stops the work. May be called twice."""
        self._closed.set()
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Exchange:
    """One request and its reply on one connection."""

    def __init__(self, connection: http.client.HTTPConnection, host: Host) -> None:
        self._connection = connection
        self._host = host
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Close when the block fails; what the network does wrong becomes ServerUnreachable."""
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise self._unreachable(error) from error
        except BaseException:
            self.close()
            raise

    def read_head(self) -> None:
        """Wait for status and headers.

        Raises:
            ServerError: the status is an error.
        """
        self._socket = self._connection.sock
        response = self._response = self._connection.getresponse()
        if response.status >= 300:
            text = response.read(_LINE_LIMIT_BYTES).decode("utf-8", "replace").strip()
            raise ServerError(_error_text(text, response), http_status=response.status)

    def read_value(self) -> Any:  # noqa: ANN401 - a JSON value from outside
        """The whole body: decoded JSON, else text; None when empty."""
        body = b"\n".join(self.read_lines())
        if not body:
            return None
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return body.decode("utf-8", "replace")
        if isinstance(value, dict):
            self._raise_reported(value)
        return value

    def read_lines(self) -> Iterator[bytes]:
        """The body's lines that hold something, each as soon as it is there."""
        response = self._response
        if response is None:
            return
        pending = bytearray()
        try:
            while piece := response.read1(_CHUNK_BYTES):
                pending += piece
                if b"\n" in piece:
                    *lines, rest = pending.split(b"\n")
                    pending = rest
                    yield from (bytes(line) for line in lines if line.strip())
                if len(pending) > _LINE_LIMIT_BYTES:
                    raise http.client.LineTooLong("record")
            # `length` is what a reply without chunks still owes; a HEAD reply owes nothing.
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # http.client meets a socket closed by another thread as an AttributeError, too.
            raise self._unreachable(error) from error
        if pending.strip():
            yield bytes(pending)

    def decode_record(self, line: bytes) -> dict[str, Any]:
        """One line of a stream.

        Raises:
            ServerError: it reports an error.
            ServerUnreachable: it is no JSON object, so this is no server we know.
        """
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise self._unreachable(error) from error
        self._raise_reported(record)
        return record

    def _raise_reported(self, record: dict[str, Any]) -> None:
        if "error" in record:
            raise ServerError(str(record["error"]), http_status=200)

    def close(self) -> None:
        """End the connection, also under a thread that reads from it."""
        if self._socket is not None:
            # Closing alone would not wake a reader in another thread.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self._response is not None:
            return ServerUnreachable(
                f"the server at {self._host.url} broke off its reply: {reason}"
            )
        return ServerUnreachable(f"no answer from {self._host.url}: {reason}")


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket (http.client calls this)."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _pieces(
    file: BinaryIO, size: int, on_progress: Callable[[int, int], None] | None
) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(_UPLOAD_CHUNK_BYTES):
        yield piece
        sent += len(piece)
        if on_progress is not None:
            on_progress(sent, size)


def _error_text(text: str, response: http.client.HTTPResponse) -> str:
    """What an error reply says: its `error` field, else its text, else its status."""
    try:
        record = msgspec.json.decode(text)
    except msgspec.DecodeError:
        record = None
    if isinstance(record, dict) and "error" in record:
        reported = record["error"]
        if isinstance(reported, dict):
            reported = reported.get("message", reported)
        return str(reported)
    return text[:500] or f"{response.status} {response.reason}"
