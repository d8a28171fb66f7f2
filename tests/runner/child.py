"""A runner child of our own, and plain HTTP to its socket."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from ollama_jupyter.runner.wire import Health, RunnerSpec
from tests.runner.bench import wait_until

ROOT = Path(__file__).parents[2]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("runner", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class Child:
    """`python -m ollama_jupyter.runner`, spawned; `close` ends it."""

    def __init__(self, spec: RunnerSpec) -> None:
        self.spec = spec
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ollama_jupyter.runner"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(spec) + b"\n")
        self.process.stdin.flush()

    @property
    def socket_path(self) -> Path:
        return Path(self.spec.socket_path)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = self.begin(method, path, body)
        try:
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def begin(self, method: str, path: str, body: object = None) -> http.client.HTTPConnection:
        connection = _UnixConnection(self.spec.socket_path)
        try:
            connection.request(method, path, b"" if body is None else msgspec.json.encode(body))
        except OSError:
            connection.close()
            raise
        return connection

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - a JSON value
        status, reply = self.request("POST", path, body)
        assert status == 200, reply
        return json.loads(reply)

    def stream(self, path: str, body: object) -> list[dict[str, Any]]:
        status, reply = self.request("POST", path, body)
        assert status == 200, reply
        return [json.loads(line) for line in reply.splitlines()]

    def health(self) -> Health | None:
        """None while nobody listens."""
        try:
            return msgspec.json.decode(self.request("GET", "/health")[1], type=Health)
        except OSError:
            return None

    def wait_until_loaded(self) -> Self:
        wait_until(lambda: (self.health() or Health(status="loading")).status != "loading")
        return self

    def close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(10)
        self.process.stdin.close()
        self.process.stderr.close()
        return code


@contextmanager
def child(model: Path, folder: Path, **spec: Any) -> Iterator[Child]:  # noqa: ANN401
    """A child that loaded the model, or failed to; ended afterwards."""
    defaults: dict[str, Any] = {"slots": 4, "num_ctx": 512, "num_batch": 512, "num_threads": 1}
    running = Child(
        RunnerSpec(
            model_path=str(model), socket_path=str(folder / "runner.sock"), **(defaults | spec)
        )
    )
    try:
        yield running.wait_until_loaded()
    finally:
        running.close()
