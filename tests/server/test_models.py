"""Models over HTTP: made from a blob, listed, shown, copied, deleted; and what is loaded."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from ollama_jupyter.api.types import StatusRecord
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import FOREVER_NS
from ollama_jupyter.scheduler.scheduler import LoadedRunner
from ollama_jupyter.server.models import in_thread
from tests.fakes.rooms import fake_model
from tests.gguf.building import LLAMA, TENSORS, gguf
from tests.server.web import Web, read_chunk, read_head


async def _create(web: Web, name: str = "tiny", **fields: object) -> list[dict[str, Any]]:
    data = gguf(LLAMA, TENSORS)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    await web.post(f"/api/blobs/{digest}", data)
    body = {"model": name, "files": {"tiny.gguf": digest}} | fields
    reply = await web.post("/api/create", body)
    assert reply.status == 200, reply.text
    return reply.records


async def _names(web: Web) -> list[str]:
    return [model["name"] for model in (await web.get("/api/tags")).json["models"]]


async def test_create_streams_its_progress_and_the_model_is_listed(empty: Web) -> None:
    records = await _create(empty)
    assert records[0] == {"status": "parsing GGUF"}
    assert records[-1] == {"status": "success"}
    (model,) = (await empty.get("/api/tags")).json["models"]
    assert (model["name"], model["model"]) == ("tiny:latest", "tiny:latest")
    assert model["details"]["family"] == "llama"
    assert model["size"] > 0
    assert len(model["digest"]) == 64


async def test_create_without_a_stream_gives_the_last_record(empty: Web) -> None:
    await _create(empty)
    body = {"model": "second", "from": "tiny", "system": "Be brief.", "stream": False}
    reply = await empty.post("/api/create", body)
    assert (reply.status, reply.json) == (200, {"status": "success"})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"model": "^", "from": "tiny"}, 400, "invalid model name"),
        ({"model": "x"}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "x", "from": "nope"}, 404, 'model "nope:latest" not found'),
    ],
)
async def test_create_refuses_with_a_status(
    empty: Web, body: dict[str, object], status: int, text: str, stream: bool
) -> None:
    reply = await empty.post("/api/create", body | {"stream": stream})
    assert reply.status == status
    assert text in reply.json["error"]


async def test_show_tells_what_a_model_is_made_of(empty: Web) -> None:
    await _create(empty, system="Be brief.", parameters={"temperature": 0.5})
    shown = (await empty.post("/api/show", {"model": "tiny"})).json
    assert shown["system"] == "Be brief."
    assert "temperature" in shown["parameters"]
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["details"]["family"] == "llama"
    assert shown["tensors"]
    named = (await empty.post("/api/show", {"name": "tiny", "system": "Other."})).json
    assert named["system"] == "Other."


@pytest.mark.parametrize(
    ("model", "status", "text"),
    [
        ("", 400, "model is required"),
        ("a/b/c/d/e", 400, "invalid model name"),
        ("nope", 404, "model 'nope:latest' not found"),
        ("nope:cloud", 403, "ollama cloud is disabled: remote model details are unavailable"),
    ],
)
async def test_show_refuses_with_a_status(empty: Web, model: str, status: int, text: str) -> None:
    reply = await empty.post("/api/show", {"model": model})
    assert (reply.status, reply.json) == (status, {"error": text})


async def test_copy_and_delete_change_the_list(empty: Web) -> None:
    await _create(empty)
    copied = await empty.post("/api/copy", {"source": "tiny", "destination": "twin"})
    assert (copied.status, copied.body) == (200, b"")
    assert sorted(await _names(empty)) == ["tiny:latest", "twin:latest"]
    deleted = await empty.ask("DELETE", "/api/delete", {"model": "tiny"})
    assert (deleted.status, deleted.body) == (200, b"")
    assert await _names(empty) == ["twin:latest"]


async def test_delete_takes_the_older_field_too(empty: Web) -> None:
    await _create(empty)
    assert (await empty.ask("DELETE", "/api/delete", {"name": "tiny"})).status == 200


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "model is required"),
        ({"model": "^"}, 400, 'name "^" is invalid'),
        ({"model": "nope"}, 404, "model 'nope' not found"),
    ],
)
async def test_delete_refuses_with_a_status(
    empty: Web, body: dict[str, str], status: int, text: str
) -> None:
    reply = await empty.ask("DELETE", "/api/delete", body)
    assert (reply.status, reply.json) == (status, {"error": text})


async def test_copy_refuses_a_missing_source(empty: Web) -> None:
    reply = await empty.post("/api/copy", {"source": "nope", "destination": "x"})
    assert (reply.status, reply.json) == (404, {"error": 'model "nope" not found'})


async def test_whoever_watches_hears_of_changes_to_the_store(empty: Web) -> None:
    reader, _ = await empty.open("GET", "/api/events")
    await read_head(reader)
    assert b"start" in await read_chunk(reader)
    await _create(empty)
    assert await read_chunk(reader) == b'{"event":"store"}\n'
    await empty.post("/api/copy", {"source": "tiny", "destination": "twin"})
    assert await read_chunk(reader) == b'{"event":"store"}\n'
    await empty.ask("DELETE", "/api/delete", {"model": "tiny"})
    assert await read_chunk(reader) == b'{"event":"store"}\n'


async def test_ps_is_empty_when_nothing_is_loaded(empty: Web) -> None:
    assert (await empty.get("/api/ps")).json == {"models": []}


async def test_ps_shows_what_is_loaded(web: Web) -> None:
    web.scheduler.resident = [
        LoadedRunner(
            model=fake_model(),
            size_bytes=100,
            vram_bytes=40,
            expires_at_ns=1_000_000_000,
            num_ctx=2048,
            running=1,
            slots=4,
        ),
        LoadedRunner(
            model=fake_model("forever"),
            size_bytes=1,
            vram_bytes=0,
            expires_at_ns=FOREVER_NS,
            num_ctx=1,
            running=0,
            slots=1,
        ),
    ]
    first, second = (await web.get("/api/ps")).json["models"]
    assert (first["name"], first["model"]) == ("test:latest", "test:latest")
    assert (first["size"], first["size_vram"], first["context_length"]) == (100, 40, 2048)
    assert (first["running"], first["slots"]) == (1, 4)
    assert first["details"]["parent_model"] == ""
    assert second["expires_at"] > first["expires_at"]


# --- in_thread ------------------------------------------------------------------------------


async def test_in_thread_runs_and_closes_an_iterator_in_one_thread() -> None:
    threads: list[int] = []

    def records() -> Iterator[StatusRecord]:
        threads.append(threading.get_ident())
        try:
            for status in "abc":
                yield StatusRecord(status=status)
                threads.append(threading.get_ident())
        finally:
            threads.append(threading.get_ident())

    async with aclosing(in_thread(records)) as stream:
        assert (await anext(stream)).status == "a"
        assert (await anext(stream)).status == "b"
    assert len(threads) == 3
    assert set(threads) == {threads[0]}
    assert threads[0] != threading.get_ident()


async def test_in_thread_passes_errors_on() -> None:
    def records() -> Iterator[StatusRecord]:
        yield StatusRecord(status="a")
        raise BadRequest("no")

    stream = in_thread(records)
    assert (await anext(stream)).status == "a"
    with pytest.raises(BadRequest, match="no"):
        await anext(stream)


async def test_a_cancel_of_in_thread_waits_for_the_step_that_runs() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def records() -> Iterator[StatusRecord]:
        try:
            begun.set()
            go_on.wait(5)
            yield StatusRecord(status="a")
        finally:
            ended.set()

    async def read() -> None:
        async with aclosing(in_thread(records)) as stream:
            await anext(stream)

    task = asyncio.create_task(read())
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    assert not ended.is_set()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
