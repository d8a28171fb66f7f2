"""A program that plays the runner: the protocol of `wire` on a Unix socket, without a model.

Its "weights" are a JSON file that scripts it; every key may be missing:

    words         texts an answer is made of, one chunk each          (["Hello", " world"])
    stall         {"load" | "answer" | "late_answer": true}: stop making progress there,
                  while /health still answers
    crash         "load": end before it is healthy; "answer": SIGKILL itself after the first chunk
    exit_code     what "load" ends with                                (1)
    log           text to write on standard error first
    sigill        die of SIGILL before it is healthy, unless use_extra_buffers is False
    error         report this error in /health
    fault         [status, text]: what every completion ends with
    late_fault    text: what every answer ends with after its words
    error_after_answer  whether /health reports an error from then on
    load_gate     a path: it is loading until this file exists; then it gets healthy
    word_gate     a path: an answer stops after its first chunk until this file exists
    memory_bytes  what /health reports                                 (1000)
    num_ctx       likewise; 0 means what the spec says                 (0)
    hang_up       whether it closes the connection after the first chunk and lives on
    ignore_term   whether SIGTERM is ignored
    busy_loop     burn processor time while an answer is stalled

It appends a line to "<weights>.starts" when it starts, with its pid, and a line to
"<weights>.calls" for each completion that begins ("begin") and each that was cancelled ("cancel").
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import tornado.httpserver
import tornado.netutil
import tornado.web
from tornado.iostream import StreamClosedError

from ollama_jupyter.runner import wire


class Fake:
    """The state all handlers share."""

    def __init__(self, spec: wire.RunnerSpec) -> None:
        self.spec = spec
        self.weights = Path(spec.model_path)
        self.script: dict[str, Any] = json.loads(self.weights.read_text())
        self.running = 0
        self.heartbeat = 0
        self.peak = 0

    def note(self, kind: str, text: str) -> None:
        with Path(f"{self.weights}.{kind}").open("a") as file:
            file.write(text + "\n")

    def is_at(self, key: str, point: str) -> bool:
        return bool(self.script.get(key, {}).get(point))

    def is_loading(self) -> bool:
        gate = self.script.get("load_gate")
        return self.is_at("stall", "load") or (gate is not None and not Path(gate).exists())

    def is_gated(self) -> bool:
        gate = self.script.get("word_gate")
        return gate is not None and not Path(gate).exists()

    def health(self) -> wire.Health:
        if error := self.script.get("error"):
            return wire.Health(status="error", error=error)
        return wire.Health(
            status="loading" if self.is_loading() else "ok",
            completed=50,
            total=100,
            memory_bytes=self.script.get("memory_bytes", 1000),
            slots=self.spec.slots,
            running=self.running,
            num_ctx=self.script.get("num_ctx", 0) or self.spec.num_ctx,
            heartbeat=self.heartbeat,
        )


class Handler(tornado.web.RequestHandler):
    def initialize(self, fake: Fake) -> None:
        self.fake = fake
        self.is_gone = asyncio.Event()

    def on_connection_close(self) -> None:
        self.is_gone.set()

    def reply(self, record: msgspec.Struct, status: int = 200) -> None:
        self.set_status(status)
        self.finish(msgspec.json.encode(record))


class HealthHandler(Handler):
    def get(self) -> None:
        health = self.fake.health()
        self.reply(health, {"ok": 200, "loading": 503, "error": 500}[health.status])


class CompletionHandler(Handler):
    async def post(self) -> None:
        fake = self.fake
        request = msgspec.json.decode(self.request.body, type=wire.CompletionRequest)
        fake.running += 1
        fake.peak = max(fake.peak, fake.running)
        if fake.running > fake.spec.slots:
            fake.note("calls", "over")
        fake.note("calls", "begin")
        try:
            await self.answer(request)
        except StreamClosedError:
            self.is_gone.set()
        finally:
            fake.running -= 1
            if self.is_gone.is_set():
                fake.note("calls", "cancel")

    async def answer(self, request: wire.CompletionRequest) -> None:
        fake = self.fake
        if fault := fake.script.get("fault"):
            self.reply(wire.RunnerFault(error=fault[1], status=fault[0]), fault[0])
            return
        if fake.is_at("stall", "answer"):
            await self.stall()
        for index, word in enumerate(fake.script.get("words", ["Hello", " world"])):
            if index == 1:
                await self.pass_gates()
            fake.heartbeat += 1
            await self.send(wire.CompletionChunk(text=word, tokens=(index,)))
        if late := fake.script.get("late_fault"):
            if fake.script.get("error_after_answer"):
                fake.script["error"] = late
            self.write(msgspec.json.encode(wire.RunnerFault(error=late, status=500)) + b"\n")
            await self.finish()
            return
        timings = wire.Timings(
            queue_ns=0,
            prompt_tokens=len(request.prompt),
            prompt_cached_tokens=0,
            prompt_ns=1,
            generated_tokens=2,
            generate_ns=1,
        )
        await self.send(wire.CompletionChunk(done=True, stop_reason="stop", timings=timings))

    async def pass_gates(self) -> None:
        if self.fake.script.get("crash") == "answer":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fake.script.get("hang_up"):
            self.detach().close()
            raise StreamClosedError
        if self.fake.is_at("stall", "late_answer"):
            await self.stall()
        while self.fake.is_gated() and not self.is_gone.is_set():
            self.fake.heartbeat += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.is_gone.wait(), 0.02)
        if self.is_gone.is_set():
            raise StreamClosedError

    async def stall(self) -> None:
        if self.fake.script.get("busy_loop"):
            burn = threading.Thread(target=_burn, args=(self.is_gone,), daemon=True)
            burn.start()
        await self.is_gone.wait()
        raise StreamClosedError

    async def send(self, chunk: wire.CompletionChunk) -> None:
        self.write(msgspec.json.encode(chunk) + b"\n")
        await self.flush()


def _burn(is_over: asyncio.Event) -> None:
    # Half of a core: enough to count as work, little enough to let the loop answer.
    while not is_over.is_set():
        end = time.perf_counter() + 0.01
        while time.perf_counter() < end:
            pass
        time.sleep(0.01)


class EmbeddingHandler(Handler):
    def post(self) -> None:
        request = msgspec.json.decode(self.request.body, type=wire.EmbeddingRequest)
        vectors = tuple((float(len(text)), 1.0) for text in request.inputs)
        self.reply(wire.EmbeddingReply(embeddings=vectors, prompt_tokens=len(vectors)))


class TokenizeHandler(Handler):
    def post(self) -> None:
        request = msgspec.json.decode(self.request.body, type=wire.TokenizeRequest)
        self.reply(wire.TokenizeReply(tokens=tuple(ord(letter) for letter in request.text)))


class DetokenizeHandler(Handler):
    def post(self) -> None:
        request = msgspec.json.decode(self.request.body, type=wire.DetokenizeRequest)
        self.reply(wire.DetokenizeReply(text="".join(chr(token) for token in request.tokens)))


class TemplateHandler(Handler):
    def post(self) -> None:
        request = msgspec.json.decode(self.request.body, type=wire.TemplateRequest)
        texts = [f"<{message['role']}>{message['content']}" for message in request.messages]
        self.reply(wire.TemplateReply(prompt="".join(texts)))


ROUTES = {
    "/health": HealthHandler,
    "/completion": CompletionHandler,
    "/embedding": EmbeddingHandler,
    "/tokenize": TokenizeHandler,
    "/detokenize": DetokenizeHandler,
    "/apply-template": TemplateHandler,
}


async def serve(fake: Fake) -> None:
    application = tornado.web.Application(
        [(path, handler, {"fake": fake}) for path, handler in ROUTES.items()],
        log_function=lambda handler: None,
    )
    server = tornado.httpserver.HTTPServer(application)
    server.add_socket(tornado.netutil.bind_unix_socket(fake.spec.socket_path))
    await asyncio.Event().wait()


def watch_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=wire.RunnerSpec)
    fake = Fake(spec)
    fake.note("starts", str(os.getpid()))
    if log := fake.script.get("log"):
        sys.stderr.write(log + "\n")
        sys.stderr.flush()
    if fake.script.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fake.script.get("sigill") and spec.use_extra_buffers:
        os.kill(os.getpid(), signal.SIGILL)
    if fake.script.get("crash") == "load":
        sys.exit(fake.script.get("exit_code", 1))
    threading.Thread(target=watch_parent, daemon=True).start()
    asyncio.run(serve(fake))


if __name__ == "__main__":
    main()
