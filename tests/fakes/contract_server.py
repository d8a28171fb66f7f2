"""A server that knows only what the reference's REST description says, as a process of its own.

Run as a program it listens, and writes one JSON line to its standard output for whatever happens:
first `{"port": …}`, then each request, then `{"closed": path}` when a client left in the middle
of an answer. `ContractServer` starts it for a test and reads those lines.

Models it has, by what they do when asked: echo (repeats the question word by word), thinker
(thinks first), painter (answers with terminal escapes), caller (calls a tool), endless (never
stops), failing (reports an error after the first word), broken (hangs up after the first word),
cut (ends without a last record), embedder (only embeds).
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import queue
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

Json = dict[str, Any]
Wrap = Callable[[str], Json]
CREATED = "2026-01-02T03:04:05.678Z"
DETAILS: Json = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
}
MODELS = (
    "echo:latest",
    "thinker:latest",
    "painter:latest",
    "caller:latest",
    "endless:latest",
    "failing:latest",
    "broken:latest",
    "cut:latest",
    "embedder:latest",
)
FIGURES: Json = {
    "total_duration": 2_000_000_000,
    "load_duration": 500_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 250_000_000,
    "eval_count": 5,
    "eval_duration": 1_000_000_000,
}
PAINT = (
    "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\"
    " \x9b2Jend\r\b"
)


RESET = "/fake/reset"


# --- the program ----------------------------------------------------------------------------


class State:
    """What the server holds: names, blobs by their digest, names of loaded models."""

    def __init__(self) -> None:
        self.models = list(MODELS)
        self.blobs: set[str] = set()
        self.loaded: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = State()
    key: str | None = None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what happens is told by `_tell`."""

    def address_string(self) -> str:
        return "client"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = body and not self.path.startswith("/api/blobs/")
        request: Json = json.loads(body) if is_json else {}
        _tell(
            method=self.command,
            path=self.path,
            body=request,
            key=self.headers.get("Authorization"),
        )
        if self.key and self.path != "/" and self.headers.get("Authorization") != self.key:
            self._send(401, {"error": "unauthorized"})
            return
        if self.path == RESET:
            Handler.state = State()
            self._send(200, "")
            return
        if self.path.startswith("/api/blobs/"):
            self._blob(self.path.removeprefix("/api/blobs/"), body)
            return
        name = self.path.removeprefix("/api/").replace("/", "root")
        handler = getattr(self, f"_{name}", None)
        if handler is None:
            self._send(404, "404 page not found")
        else:
            handler(request)

    # Each of these answers one route.

    def _root(self, _: Json) -> None:
        self._send(200, "Ollama is running")

    def _version(self, _: Json) -> None:
        self._send(200, {"version": "0.12.3"})

    def _tags(self, _: Json) -> None:
        entries = [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-01-02T03:04:05+02:00",
                "size": 98_000_000,
                "digest": hashlib.sha256(name.encode()).hexdigest(),
                "details": DETAILS,
            }
            for name in self.state.models
        ]
        self._send(200, {"models": entries})

    def _ps(self, _: Json) -> None:
        entries = [
            {
                "name": name,
                "model": name,
                "size": 250_000_000,
                "digest": hashlib.sha256(name.encode()).hexdigest(),
                "details": DETAILS,
                "expires_at": "2318-01-02T03:04:05+02:00",
                "size_vram": 0,
                "context_length": 4096,
            }
            for name in self.state.loaded
        ]
        self._send(200, {"models": entries})

    def _show(self, request: Json) -> None:
        name = self._known(request.get("model") or request.get("name") or "")
        if name is None:
            return
        capability = "embedding" if name.startswith("embedder") else "completion"
        capabilities = [capability, *(["thinking"] if name.startswith("thinker") else [])]
        shown: Json = {
            "license": "one\n\ntwo\nthree\n",
            "modelfile": f"# Modelfile\nFROM {name}\n",
            "parameters": 'stop                           "<|im_end|>"\ntemperature    0.5',
            "template": "{{ .Prompt }}",
            "system": request.get("system", ""),
            "details": DETAILS,
            "messages": [
                {"role": "user", "content": "stored question"},
                {"role": "assistant", "content": "stored answer"},
            ],
            "model_info": {
                "general.architecture": "llama",
                "general.parameter_count": 134_515_008,
                "llama.context_length": 8192,
                "llama.embedding_length": 576,
                "tokenizer.ggml.tokens": ["a", "b", "c"] if request.get("verbose") else None,
            },
            "tensors": [{"name": "output.weight", "type": "Q4_1", "shape": [576, 49152]}],
            "capabilities": capabilities,
            "modified_at": "2026-01-02T03:04:05+02:00",
        }
        self._send(200, {key: value for key, value in shown.items() if value != ""})

    def _copy(self, request: Json) -> None:
        if self._known(request["source"]) is None:
            return
        self.state.models.append(_full(request["destination"]))
        self._send(200, "")

    def _delete(self, request: Json) -> None:
        name = self._known(request.get("model") or "")
        if name is None:
            return
        self.state.models.remove(name)
        self._send(200, "")

    def _create(self, request: Json) -> None:
        self.state.models.append(_full(request["model"]))
        self._stream([{"status": "parsing GGUF"}, {"status": "success"}])

    def _embed(self, request: Json) -> None:
        if self._known(request["model"]) is not None:
            self._send(200, {"model": request["model"], "embeddings": [[0.6, 0.8]]})

    def _generate(self, request: Json) -> None:
        name = self._known(request.get("model", ""))
        if name is None:
            return
        if not request.get("prompt"):
            is_unload = request.get("keep_alive") == 0
            self.state.loaded = [] if is_unload else [name]
            reason = "unload" if is_unload else "load"
            self._send(200, _record(name, done=True, done_reason=reason, response=""))
            return
        self._reply(name, request["prompt"], lambda text: {"response": text})

    def _chat(self, request: Json) -> None:
        name = self._known(request.get("model", ""))
        if name is not None:
            question = request["messages"][-1]["content"]
            self._reply(
                name, question, lambda text: {"message": {"role": "assistant", "content": text}}
            )

    def _reply(self, name: str, question: str, wrap: Wrap) -> None:
        self.state.loaded = [name]
        records = _records(name, question, wrap)
        kind = name.partition(":")[0]
        if kind == "broken":
            self._chunked_head()
            self._chunk(next(records))
            self.close_connection = True
            self.connection.shutdown(1)
            return
        self._stream(records)

    # What routes have in common.

    def _known(self, name: str) -> str | None:
        full = _full(name)
        if full in self.state.models:
            return full
        self._send(404, {"error": f"model '{name}' not found"})
        return None

    def _blob(self, digest: str, body: bytes) -> None:
        if self.command == "HEAD":
            self._send(200 if digest in self.state.blobs else 404, "")
            return
        if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
            self._send(400, {"error": "digest mismatch"})
            return
        self.state.blobs.add(digest)
        self._send(201, "")

    def _send(self, status: int, value: Json | str) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, records: Iterable[Json]) -> None:
        self._chunked_head()
        try:
            for record in records:
                self._chunk(record)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
            _tell(closed=self.path)

    def _chunked_head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, record: Json) -> None:
        line = json.dumps(record).encode() + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _record(name: str, *, done: bool = False, **fields: object) -> Json:
    return {"model": name, "created_at": CREATED, **fields, "done": done}


def _records(name: str, question: str, wrap: Wrap) -> Iterator[Json]:
    kind = name.partition(":")[0]
    if kind == "thinker":
        thought = wrap("")
        (thought.get("message") or thought)["thinking"] = "hmm"
        yield _record(name, **thought)
    if kind == "caller":
        call = wrap("")
        call["message"]["tool_calls"] = [
            {"function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
        ]
        yield _record(name, **call)
    while kind == "endless":
        yield _record(name, **wrap("on "))
    words = [PAINT] if kind == "painter" else [f"{word} " for word in question.split()]
    for position, word in enumerate(words):
        yield _record(name, **wrap(word))
        if kind == "failing" and position == 0:
            yield {"error": "model runner has unexpectedly stopped"}
            return
    if kind != "cut":
        yield _record(name, **wrap(""), done_reason="stop", **FIGURES, done=True)


def _tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main() -> None:
    """Serve until standard input ends."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--unix")
    arguments.add_argument("--key")
    chosen = arguments.parse_args()
    Handler.key = f"Bearer {chosen.key}" if chosen.key else None
    Handler.disable_nagle_algorithm = not chosen.unix  # else each reply waits 40 ms
    server: socketserver.BaseServer
    if chosen.unix:
        server = UnixServer(chosen.unix, Handler)
        _tell(port=0)
    else:
        server = ThreadingHTTPServer(("127.0.0.1", chosen.port), Handler)
        _tell(port=server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The test that started us holds the other end; it closes it, or ends and so closes it.
    sys.stdin.read()
    os._exit(0)


# --- for tests ------------------------------------------------------------------------------


class ContractServer:
    """The program, running; a context manager that ends it."""

    def __init__(self, *, unix: Path | None = None, key: str | None = None, port: int = 0) -> None:
        command = [sys.executable, "-I", str(Path(__file__).resolve()), "--port", str(port)]
        command += ["--unix", str(unix)] if unix else []
        command += ["--key", key] if key else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._events: queue.Queue[Json] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.pid = self._process.pid
        self.port: int = self.next_event()["port"]
        self.url = f"unix:{unix}" if unix else f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))

    def next_event(self) -> Json:
        """The next thing that happened there; waits for it, 10 s at most."""
        return self._events.get(timeout=10)

    def wait_for(self, **wanted: object) -> Json:
        """The next event that has these fields, those before it skipped."""
        while True:
            event = self.next_event()
            if all(event.get(key) == value for key, value in wanted.items()):
                return event

    def bodies(self, path: str) -> list[Json]:
        """The bodies of the requests for a path that have arrived and were not asked for yet."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if event.get("path") == path:
                    found.append(event["body"])
        return found

    def reset(self) -> None:
        """Make it as it was at its start, for the next test."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", RESET)
        connection.getresponse().read()
        connection.close()
        self.wait_for(path=RESET)

    def close(self) -> None:
        """End the program and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    main()
