"""A server over an empty store, fresh for each case of the http suite."""

import asyncio
import contextlib
import http.client
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tornado.httpserver import HTTPServer

from ollama_jupyter.api.types import JSON
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.config import Config
from ollama_jupyter.inference.rooms import Clock, Rooms
from ollama_jupyter.scheduler.scheduler import Scheduler
from ollama_jupyter.server import listening
from ollama_jupyter.server.activity import Activity
from ollama_jupyter.server.app import make_app
from ollama_jupyter.server.origins import Gate
from ollama_jupyter.server.services import Services
from ollama_jupyter.store.store import Store

_TIMEOUT_SECONDS = 30.0


@contextlib.asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[int]:
    """The port of a server whose store lies in a folder."""
    config = Config.from_environment(
        {
            "HOME": str(folder),
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_MODELS": str(folder / "models"),
            "OLLAMA_JUPYTER_RUNTIME_DIR": str(folder / "run"),
            "OLLAMA_OFFERED_MODELS": "0",
        }
    )
    clock = Clock()
    store = Store(config.models)
    await asyncio.to_thread(store.prepare)
    scheduler = Scheduler(config)
    catalog = Catalog(store, go_template=config.go_template, offered=config.offered_models)
    services = Services(
        rooms=Rooms(catalog=catalog, scheduler=scheduler, config=config, clock=clock),
        store=store,
        gate=Gate(origins=config.origins, host_names=frozenset({"127.0.0.1"}), api_key=None),
        activity=Activity(clock.monotonic_ns),
    )
    server = HTTPServer(make_app(services))
    sockets, host = listening.bind(config.host)
    server.add_sockets(sockets)
    try:
        yield host.port
    finally:
        server.stop()
        await scheduler.close()
        await server.close_all_connections()


def _send(port: int, given: JSON) -> JSON:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        body = given.get("body")
        connection.request(given["method"], given["path"], None if body is None else body.encode())
        reply = connection.getresponse()
        text = reply.read().decode()
    result = {"status": reply.status, "text": text}
    with contextlib.suppress(ValueError):
        result["json"] = json.loads(text)
    return result


async def _ask(given: JSON) -> JSON:
    with tempfile.TemporaryDirectory(prefix="oj-store-") as folder:
        async with _serving(Path(folder)) as port:
            return await asyncio.to_thread(_send, port, given)


def _empty_store(given: JSON) -> JSON:
    return asyncio.run(_ask(given))


ADAPTERS: dict[tuple[str, str], Callable[[JSON], JSON]] = {
    ("http", "empty-store"): _empty_store,
}
