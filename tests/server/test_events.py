"""/api/events: who watches hears which list changed."""

import asyncio
import json
from contextlib import aclosing

import pytest

from ollama_jupyter.errors import Busy
from ollama_jupyter.server.events import Events
from tests.fakes.rooms import until
from tests.server.web import Web, read_chunk, read_head


async def test_a_stream_begins_with_start_and_tells_of_each_change() -> None:
    events = Events()
    async with aclosing(events.stream()) as stream:
        assert (await anext(stream)).event == "start"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        events.publish("loaded")
        assert (await waiting).event == "loaded"


async def test_changes_that_nobody_took_are_told_once_each() -> None:
    events = Events()
    async with aclosing(events.stream()) as stream:
        await anext(stream)
        for kind in ("store", "loaded", "store", "loaded", "store"):
            events.publish(kind)
        assert [(await anext(stream)).event for _ in range(2)] == ["store", "loaded"]


async def test_every_stream_hears_of_a_change() -> None:
    events = Events()
    async with aclosing(events.stream()) as first, aclosing(events.stream()) as second:
        await anext(first)
        await anext(second)
        events.publish("loaded")
        assert (await anext(first)).event == (await anext(second)).event == "loaded"


async def test_a_closed_stream_is_forgotten() -> None:
    events = Events()
    async with aclosing(events.stream()) as stream:
        await anext(stream)
    events.publish("store")


async def test_closing_ends_open_and_later_streams() -> None:
    events = Events()
    async with aclosing(events.stream()) as stream:
        await anext(stream)
        events.close()
        with pytest.raises(Busy):
            await anext(stream)
    async with aclosing(events.stream()) as late:
        await anext(late)
        with pytest.raises(Busy):
            await anext(late)


async def test_the_route_streams_and_ends_with_one_error(empty: Web) -> None:
    reader, _ = await empty.open("GET", "/api/events")
    assert "application/x-ndjson" in await read_head(reader)
    assert json.loads(await read_chunk(reader)) == {"event": "start"}
    empty.services.events.publish("loaded")
    assert json.loads(await read_chunk(reader)) == {"event": "loaded"}
    empty.services.events.close()
    assert json.loads(await read_chunk(reader)) == {"error": "the server is shutting down"}
    assert await read_chunk(reader) == b""


async def test_leaving_the_route_ends_the_subscription(empty: Web) -> None:
    reader, writer = await empty.open("GET", "/api/events")
    await read_head(reader)
    writer.close()
    await until(lambda: empty.services.activity.idle_ns > 0, "the request is over")
