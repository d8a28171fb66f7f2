"""The protocol's calls against the fake runner, in a process of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.errors import BadRequest, Busy, RunnerDied, RunnerError
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.runner.process import RunnerProcess
from ollama_jupyter.runner.wire import (
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TemplateRequest,
    TokenizeRequest,
)
from tests.fakes.runners import lines, start_fake, until, write_script

SECOND_NS = 1_000_000_000
REQUEST = CompletionRequest(prompt="hi")

Runner = Callable[..., Awaitable[RunnerProcess]]


@pytest.fixture
async def runner(short_dir: Path) -> AsyncIterator[Runner]:
    """Starts a ready fake with a script; all of them are stopped at the end."""
    started: list[RunnerProcess] = []

    async def start(**script: Any) -> RunnerProcess:  # noqa: ANN401 - the fake checks it
        weights = write_script(short_dir / "weights", **script)
        process = await start_fake(weights, short_dir)
        started.append(process)
        await process.ready(10 * SECOND_NS)
        return process

    yield start
    for process in started:
        await process.stop()


async def texts(client: RunnerClient) -> list[str]:
    return [chunk.text async for chunk in client.completion(REQUEST)]


async def test_completion_yields_every_chunk_when_all_goes_well(runner: Runner) -> None:
    process = await runner(words=["Hé", "llo", " 🙂"])
    chunks = [chunk async for chunk in process.client.completion(REQUEST)]
    assert "".join(chunk.text for chunk in chunks) == "Héllo 🙂"
    assert [chunk.done for chunk in chunks] == [False, False, False, True]
    assert chunks[-1].stop_reason == "stop"
    assert chunks[-1].timings is not None
    assert chunks[-1].timings.prompt_tokens == 2


async def test_health_gives_slots_and_context_when_ready(runner: Runner) -> None:
    process = await runner()
    health = await process.client.health(5)
    assert (health.status, health.slots, health.num_ctx) == ("ok", 2, 4096)


async def test_other_calls_give_their_replies_when_asked(runner: Runner) -> None:
    client = (await runner()).client
    assert (await client.tokenize(TokenizeRequest(text="ab"))).tokens == (97, 98)
    assert (await client.detokenize(DetokenizeRequest(tokens=(97, 98)))).text == "ab"
    embedding = await client.embedding(EmbeddingRequest(inputs=("ab", "abc")))
    assert embedding.embeddings == ((2.0, 1.0), (3.0, 1.0))
    messages = [{"role": "user", "content": "hi"}]
    prompt = await client.apply_template(TemplateRequest(messages=messages))
    assert prompt.prompt == "<user>hi"


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (503, Busy), (500, RunnerError), (418, RunnerError)]
)
async def test_completion_raises_what_the_runner_reported_when_it_refuses(
    runner: Runner, status: int, kind: type[Exception]
) -> None:
    process = await runner(fault=[status, "no, thank you"])
    with pytest.raises(kind, match="no, thank you") as caught:
        await texts(process.client)
    assert type(caught.value) is kind


async def test_completion_raises_the_fault_when_it_comes_late(runner: Runner) -> None:
    process = await runner(late_fault="it broke")
    answer = process.client.completion(REQUEST)
    assert [(await anext(answer)).text, (await anext(answer)).text] == ["Hello", " world"]
    with pytest.raises(RunnerError, match="it broke"):
        await anext(answer)


async def test_completion_raises_died_when_the_runner_crashes(runner: Runner) -> None:
    process = await runner(crash="answer")
    with pytest.raises(RunnerDied, match="unexpectedly stopped"):
        await texts(process.client)


async def test_every_call_raises_died_when_nobody_listens(short_dir: Path) -> None:
    client = RunnerClient(short_dir / "none")
    with pytest.raises(RunnerDied):
        await client.health(1)
    with pytest.raises(RunnerDied):
        await texts(client)
    with pytest.raises(RunnerDied):
        await client.tokenize(TokenizeRequest(text="a"))


async def test_closing_a_completion_cancels_it_in_the_runner(
    runner: Runner, short_dir: Path
) -> None:
    process = await runner(stall={"late_answer": True})
    answer = process.client.completion(REQUEST)
    assert (await anext(answer)).text == "Hello"
    await answer.aclose()
    await until(lambda: "cancel" in lines(short_dir / "weights", "calls"))
    assert (await process.client.health(5)).running == 0


async def test_cancelling_a_task_cancels_its_completion_in_the_runner(
    runner: Runner, short_dir: Path
) -> None:
    process = await runner(stall={"answer": True})
    task = asyncio.create_task(texts(process.client))
    await until(lambda: "begin" in lines(short_dir / "weights", "calls"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: "cancel" in lines(short_dir / "weights", "calls"))


# --- replies that are wrong -----------------------------------------------------------------


@contextlib.asynccontextmanager
async def replying(
    folder: Path, body: bytes, status: str = "200 OK"
) -> AsyncIterator[RunnerClient]:
    """A client of something that answers every request with these bytes and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(handle, folder / "wrong"):
        yield RunnerClient(folder / "wrong")


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"text":1}', b"\xff\xfe", b'{"error":1}'])
async def test_completion_raises_runner_error_when_a_line_is_wrong(
    short_dir: Path, line: bytes
) -> None:
    async with replying(short_dir, line + b"\n") as client:
        with pytest.raises(RunnerError, match="the runner sent what is no"):
            await texts(client)


async def test_completion_raises_died_when_the_last_chunk_is_missing(short_dir: Path) -> None:
    async with replying(short_dir, b'{"text":"a"}\n{"text":"b"}\n{"te') as client:
        with pytest.raises(RunnerDied):
            await texts(client)


async def test_completion_raises_runner_error_when_a_line_never_ends(short_dir: Path) -> None:
    async with replying(short_dir, b"x" * (9 << 20)) as client:
        with pytest.raises(RunnerError, match="exceeded 8 MB limit"):
            await texts(client)


async def test_call_raises_runner_error_when_the_reply_is_wrong(short_dir: Path) -> None:
    async with replying(short_dir, b'{"tokens":["a"]}') as client:
        with pytest.raises(RunnerError, match="no TokenizeReply"):
            await client.tokenize(TokenizeRequest(text="a"))


async def test_call_raises_the_fault_when_the_runner_refuses(short_dir: Path) -> None:
    fault = b'{"error":"too long","status":400}'
    async with replying(short_dir, fault, "400 Bad Request") as client:
        with pytest.raises(BadRequest, match="too long"):
            await client.embedding(EmbeddingRequest(inputs=("a",)))
