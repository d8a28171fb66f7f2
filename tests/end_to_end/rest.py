"""A REST client that knows nothing of ours: plain HTTP and JSON."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from scripts.temporary_server import TemporaryServer

MODEL = "smollm2:135m"
TOKYO = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of Japan?"}],
    "options": {"temperature": 0},
}
# Greedy decoding of this goes on for as long as it is let.
COUNTING = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,"


def counting(**options: Any) -> dict[str, Any]:  # noqa: ANN401 — options are JSON values
    """A generate request that runs to num_predict."""
    return {
        "model": MODEL,
        "prompt": COUNTING,
        "raw": True,
        "options": {"temperature": 0, "num_predict": 2000, **options},
    }


@dataclass(frozen=True, slots=True)
class Rest:
    """Requests to one server, each on its own connection."""

    url: str

    def open(self, method: str, path: str, body: object = None) -> "Exchange":
        """Send a request; the reply's head has been read."""
        connection = self.send(method, path, body)
        return Exchange(connection, connection.getresponse())

    def send(self, method: str, path: str, body: object = None) -> http.client.HTTPConnection:
        """Send a request and read nothing; the caller closes the connection."""
        return self.send_bytes(method, path, None if body is None else json.dumps(body).encode())

    def send_bytes(self, method: str, path: str, data: bytes | None) -> http.client.HTTPConnection:
        """Send raw bytes and read nothing; the caller closes the connection."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
        connection.request(method, path, data)
        return connection

    def get(self, path: str) -> Any:  # noqa: ANN401 — a JSON value
        """The JSON of a GET."""
        return self.open("GET", path).json()

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and JSON of a POST that is not streamed."""
        exchange = self.open("POST", path, body)
        return exchange.status, exchange.json()

    def records(self, path: str, body: object) -> list[dict[str, Any]]:
        """All records of a stream."""
        return list(self.open("POST", path, body).records())

    def loaded(self) -> list[dict[str, Any]]:
        """What /api/ps lists."""
        models: list[dict[str, Any]] = self.get("/api/ps")["models"]
        return models


@dataclass(frozen=True, slots=True)
class Exchange:
    """A reply that is being read; `close` drops the connection."""

    connection: http.client.HTTPConnection
    reply: http.client.HTTPResponse

    @property
    def status(self) -> int:
        """The status."""
        return self.reply.status

    def json(self) -> Any:  # noqa: ANN401 — a JSON value
        """The whole body as JSON; None when empty."""
        data = self.reply.read()
        self.close()
        return json.loads(data) if data else None

    def next_record(self) -> dict[str, Any]:
        """The next line of a stream."""
        record: dict[str, Any] = json.loads(self.reply.readline())
        return record

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of a stream, to its end."""
        for line in self.reply:
            yield json.loads(line)
        self.close()

    def close(self) -> None:
        """Drop the connection at once; a socket kept by the reply would hold it open."""
        self.reply.close()
        self.connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("runner", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def engines_running(server: TemporaryServer) -> int:
    """Sequences that run or are evaluated, by what the runners themselves say."""
    running = 0
    for path in (server.home / "run").rglob("*"):
        if path.is_socket():
            connection = _UnixConnection(path)
            connection.request("GET", "/health")
            running += json.loads(connection.getresponse().read())["running"]
            connection.close()
    return running


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for a condition; the seconds it took.

    Raises:
        AssertionError: it did not come true in time.
    """
    started = time.monotonic()
    while not condition():
        taken = time.monotonic() - started
        assert taken < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.01)  # the pace of looking, not a wait for time to pass
    return time.monotonic() - started


def runners(server_pid: int) -> list[psutil.Process]:
    """The runner processes of a server."""
    children = psutil.Process(server_pid).children(recursive=True)
    return [c for c in children if "ollama_jupyter.runner" in c.cmdline()]
