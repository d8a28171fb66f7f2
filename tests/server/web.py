"""A server of ours in the test's own loop, and a client that sends exactly what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.config import allowed_origins
from ollama_jupyter.inference.rooms import Rooms
from ollama_jupyter.scheduler.scheduler import Scheduler
from ollama_jupyter.server.activity import Activity
from ollama_jupyter.server.app import make_app
from ollama_jupyter.server.origins import Gate
from ollama_jupyter.server.services import Limits, Services
from ollama_jupyter.store.store import Store
from tests.fakes.rooms import FakeScheduler, fake_rooms, until

DEADLINE_SECONDS = 10.0


@dataclass(slots=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 — a JSON value
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass(slots=True)
class Web:
    """A running server, and the fakes behind it."""

    port: int
    services: Services
    scheduler: FakeScheduler
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def open(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] = b"",
        **headers: str,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request on a connection of its own; headers as in `Content_Type="x"`."""
        data = json.dumps(body) if isinstance(body, dict) else body
        raw = data.encode() if isinstance(data, str) else data
        sent = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(raw))}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items() if v), "", ""]
        reader, writer = await self.connect()
        writer.write("\r\n".join(lines).encode("utf-8", "surrogateescape") + raw)
        return reader, writer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection; closed at the end of the test."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] = b"",
        **headers: str,
    ) -> Reply:
        """The whole reply to a request."""
        reader, writer = await self.open(method, path, body, **headers)
        async with asyncio.timeout(DEADLINE_SECONDS):
            reply = await read_reply(reader, has_body=method != "HEAD")
        writer.close()
        return reply

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, **headers)

    async def post(
        self, path: str, body: bytes | str | dict[str, Any] = b"", **headers: str
    ) -> Reply:
        return await self.ask("POST", path, body, **headers)


async def read_reply(reader: asyncio.StreamReader, *, has_body: bool = True) -> Reply:
    """Read one reply; a connection that ends before it raises IncompleteReadError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(": ")
        if name:
            headers[name.lower()] = value
    body = b""
    if not has_body:
        pass
    elif headers.get("transfer-encoding") == "chunked":
        while piece := await read_chunk(reader):
            body += piece
    elif headers.get("content-length"):
        body = await reader.readexactly(int(headers["content-length"]))
    return Reply(status, headers, body)


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body, b"" for the last."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    piece = await reader.readexactly(size)
    await reader.readexactly(2)
    return piece


async def read_head(reader: asyncio.StreamReader) -> str:
    """The head of a reply."""
    return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")


@asynccontextmanager
async def running(
    folder: Path,
    *models: Model,
    scheduler: FakeScheduler | None = None,
    api_key: str | None = None,
    origins: str = "",
    host_names: frozenset[str] = frozenset(),
    limits: Limits | None = None,
) -> AsyncIterator[Web]:
    """A server over an empty store; with `models`, over those instead."""
    scheduler = scheduler or FakeScheduler()
    store = Store(folder / "models")
    store.prepare()
    rooms = fake_rooms(*models, scheduler=scheduler)
    if not models:
        rooms = Rooms(
            catalog=Catalog(store, go_template=None, offered=False),
            scheduler=cast(Scheduler, scheduler),
            config=rooms.config,
        )
    services = Services(
        rooms=rooms,
        store=store,
        gate=Gate(origins=allowed_origins(origins), host_names=host_names, api_key=api_key),
        activity=Activity(rooms.clock.monotonic_ns),
        limits=limits or Limits(),
    )
    server = HTTPServer(make_app(services), max_body_size=1 << 40)
    (socket,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([socket])
    web = Web(port=socket.getsockname()[1], services=services, scheduler=scheduler)
    try:
        yield web
    finally:
        server.stop()
        for writer in web.writers:
            writer.close()
        await server.close_all_connections()
        await until(lambda: services.activity.idle_ns > 0, "requests are still open")
