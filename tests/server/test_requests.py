"""One exchange: bodies in, records out, errors to statuses, and connections that close."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from ollama_jupyter.errors import Busy, InsufficientMemory, RunnerDied, RunnerStartFailed
from ollama_jupyter.server.services import Limits
from tests.fakes.rooms import FakeRunner, FakeScheduler, fake_model, until, words
from tests.server.web import Web, read_chunk, read_head, read_reply, running

CHAT = {"model": "test", "messages": [{"role": "user", "content": "Hello"}]}


async def test_a_stream_has_one_record_a_line_and_ends_with_done(web: Web) -> None:
    reply = await web.post("/api/chat", CHAT)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert [record["message"]["content"] for record in reply.records] == ["Hi", "!", ""]
    assert [record["done"] for record in reply.records] == [False, False, True]
    assert reply.body.endswith(b"}\n")


async def test_each_record_is_sent_when_it_is_made(web: Web) -> None:
    web.scheduler.runner.gate = asyncio.Event()
    reader, _ = await web.open("POST", "/api/chat", CHAT)
    await read_head(reader)
    assert json.loads(await read_chunk(reader))["message"]["content"] == "Hi"
    web.scheduler.runner.gate.set()
    assert json.loads(await read_chunk(reader))["message"]["content"] == "!"


async def test_a_single_reply_holds_all_pieces(web: Web) -> None:
    reply = await web.post("/api/chat", CHAT | {"stream": False})
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert not reply.body.endswith(b"\n")
    assert reply.json["message"] == {"role": "assistant", "content": "Hi!"}
    assert reply.json["done"] is True


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Busy("server busy"), 503),
        (InsufficientMemory("too big", wanted_bytes=2, free_bytes=1), 500),
        (RunnerStartFailed("no"), 500),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_first_record_has_its_status(
    web: Web, error: Exception, status: int, stream: bool
) -> None:
    assert isinstance(error, Busy | InsufficientMemory | RunnerStartFailed)
    web.scheduler.refuses_with = error
    reply = await web.post("/api/chat", CHAT | {"stream": stream})
    assert (reply.status, reply.json) == (status, {"error": str(error)})


async def test_an_error_after_the_first_record_is_the_last_record(web: Web) -> None:
    web.scheduler.runner.fails_with = RunnerDied("it <died>")
    reply = await web.post("/api/chat", CHAT)
    assert reply.status == 200
    assert reply.records[-1] == {"error": "it <died>"}
    assert b"it \\u003cdied\\u003e" in reply.body
    assert [record.get("done") for record in reply.records] == [False, False, None]


async def test_an_error_after_pieces_of_a_single_reply_has_its_status(web: Web) -> None:
    web.scheduler.runner.fails_with = RunnerDied("gone")
    reply = await web.post("/api/chat", CHAT | {"stream": False})
    assert (reply.status, reply.json) == (500, {"error": "gone"})


async def test_a_defect_costs_one_request_and_tells_nothing(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.scheduler.resident = [None]  # type: ignore[list-item]  # the defect
    with caplog.at_level(logging.ERROR, "ollama_jupyter.server"):
        reply = await web.get("/api/ps")
    assert reply.status == 500
    assert reply.json == {"error": "internal error; the server's log says more"}
    assert caplog.records[0].exc_info is not None
    assert (await web.get("/api/version")).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_closed_connection_cancels_a_generation(web: Web, stream: bool) -> None:
    web.scheduler.runner.gate = asyncio.Event()
    _, writer = await web.open("POST", "/api/chat", CHAT | {"stream": stream})
    await until(lambda: web.scheduler.runner.completions, "it runs")
    writer.close()
    await until(lambda: web.scheduler.runner.closed == 1, "the completion was left")
    await until(lambda: web.scheduler.active == 0, "the slot is free")


async def test_a_half_closed_connection_cancels_too(web: Web) -> None:
    web.scheduler.runner.gate = asyncio.Event()
    _, writer = await web.open("POST", "/api/chat", CHAT)
    await until(lambda: web.scheduler.runner.completions, "it runs")
    writer.write_eof()
    await until(lambda: web.scheduler.active == 0, "the slot is free")


async def test_a_closed_connection_gives_up_a_place_in_the_queue(web: Web) -> None:
    web.scheduler.gate = asyncio.Event()
    _, writer = await web.open("POST", "/api/chat", CHAT)
    await until(lambda: web.scheduler.waiting == 1, "it waits")
    writer.close()
    await until(lambda: web.scheduler.waiting == 0, "nobody waits")
    assert not web.scheduler.runner.completions


async def test_a_closed_connection_is_logged_as_499(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.scheduler.gate = asyncio.Event()
    with caplog.at_level(logging.INFO, "ollama_jupyter.access"):
        _, writer = await web.open("POST", "/api/chat", CHAT)
        await until(lambda: web.scheduler.waiting == 1, "it waits")
        writer.close()
        await until(lambda: caplog.records, "it is logged")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("POST /api/chat 499 ")


async def test_the_access_log_names_route_and_model_and_nothing_else(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    secret = CHAT | {"messages": [{"role": "user", "content": "my secret"}]}
    with caplog.at_level(logging.DEBUG):
        await web.post("/api/chat?also=secret", secret, Authorization="Bearer secret")
        await web.get("/secret/path")
    lines = [r.getMessage() for r in caplog.records if r.name == "ollama_jupyter.access"]
    assert lines[0].startswith("POST /api/chat 200 ")
    assert lines[0].endswith(" 'test'")
    assert lines[1].startswith("GET - 404 ")
    assert "secret" not in caplog.text


async def test_a_client_that_stops_reading_is_dropped(tmp_path: Path) -> None:
    big = "x" * 100_000
    runner = FakeRunner(answers=[words(*[big] * 400)])
    scheduler = FakeScheduler(runner=runner)
    limits = Limits(write_seconds=0.05)
    async with running(tmp_path, fake_model(), scheduler=scheduler, limits=limits) as web:
        _, writer = await web.open("POST", "/api/chat", CHAT)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport, too
        await until(lambda: runner.closed == 1, "the completion was left")
        await until(lambda: scheduler.active == 0, "the slot is free")
        writer.transport.abort()


# --- bodies ---------------------------------------------------------------------------------


async def test_a_body_without_a_type_is_taken_as_it_is(web: Web) -> None:
    text = "&=%+" * 1500
    body = json.dumps({"model": "test", "prompt": text, "raw": True})
    kind = "application/x-www-form-urlencoded"
    reply = await web.post("/api/generate", body, Content_Type=kind)
    assert reply.status == 200
    assert web.scheduler.runner.completions[0].prompt == text


@pytest.mark.parametrize("body", ["", " \n"])
async def test_a_missing_body_is_400(web: Web, body: str) -> None:
    reply = await web.post("/api/chat", body)
    assert (reply.status, reply.json) == (400, {"error": "missing request body"})


async def test_a_chunked_body_is_read(web: Web) -> None:
    reader, writer = await web.open(
        "POST", "/api/chat", Content_Length="", Transfer_Encoding="chunked"
    )
    data = json.dumps(CHAT).encode()
    for piece in (data[:10], data[10:]):
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await read_reply(reader)).records[-1]["done"] is True


async def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(json_bytes=1000, discard_bytes=2000)) as web:
        reader, _ = await web.open("POST", "/api/chat", Content_Length="1000000000")
        reply = await read_reply(reader)
    assert reply.status == 413
    assert "at most 1000 bytes" in reply.json["error"]


async def test_a_slightly_larger_body_is_read_and_refused(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(json_bytes=10)) as web:
        assert (await web.post("/api/chat", CHAT)).status == 413


async def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(json_bytes=1000)) as web:
        reader, writer = await web.open(
            "POST", "/api/chat", Content_Length="", Transfer_Encoding="chunked"
        )
        writer.write(b"800\r\n" + b"x" * 0x800 + b"\r\n")
        assert (await read_reply(reader)).status == 413


async def test_a_body_that_stands_still_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(read_seconds=0.05)) as web:
        reader, _ = await web.open("POST", "/api/chat", b"{", Content_Length="100")
        async with asyncio.timeout(5):
            assert await reader.read() == b""


async def test_a_body_that_is_cut_leaves_nothing_open(web: Web) -> None:
    _, writer = await web.open("POST", "/api/chat", b"{", Content_Length="100")
    writer.close()
    await until(lambda: web.services.activity.idle_ns > 0, "the request is over")


async def test_a_refused_request_keeps_its_connection(web: Web) -> None:
    reader, writer = await web.open("POST", "/nope", CHAT)
    assert (await read_reply(reader)).status == 404
    writer.write(f"GET /api/version HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    assert (await read_reply(reader)).status == 200


# --- the end --------------------------------------------------------------------------------


async def test_stopping_ends_a_stream_with_one_error_record(web: Web) -> None:
    web.scheduler.runner.gate = asyncio.Event()
    reader, _ = await web.open("POST", "/api/chat", CHAT)
    await read_head(reader)
    await read_chunk(reader)
    web.services.activity.stop_all()
    web.services.activity.stop_all()
    assert json.loads(await read_chunk(reader)) == {"error": "the server is shutting down"}
    assert await read_chunk(reader) == b""
    assert web.scheduler.active == 0


async def test_stopping_answers_a_waiting_request_with_503(web: Web) -> None:
    web.scheduler.gate = asyncio.Event()
    reader, _ = await web.open("POST", "/api/chat", CHAT)
    await until(lambda: web.scheduler.waiting == 1, "it waits")
    web.services.activity.stop_all()
    reply = await read_reply(reader)
    assert (reply.status, reply.json) == (503, {"error": "the server is shutting down"})


async def test_an_ending_server_takes_no_new_requests(web: Web) -> None:
    web.services.activity.is_ending = True
    assert (await web.post("/api/chat", CHAT)).status == 503
