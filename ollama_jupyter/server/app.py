"""The table of routes: read this first.

A request comes in through `requests.Exchange`, which passes it by the gate (`origins`) and hands
it to the action named here. What the table does not name is 404 or 405, in plain text.
"""

import re
from collections import defaultdict
from typing import Any, Final

import msgspec
from tornado.web import Application, RequestHandler

from ollama_jupyter.server import blobs, generation, models
from ollama_jupyter.server.requests import Exchange, Route
from ollama_jupyter.server.services import Services
from ollama_jupyter.version import __version__

BANNER: Final = "Ollama is running"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of /api/version."""

    version: str


async def home(exchange: Exchange) -> None:
    """GET /: says that this is a server that speaks Ollama."""
    await exchange.send_text(BANNER)


async def version(exchange: Exchange) -> None:
    """GET /api/version."""
    await exchange.send(Version(version=__version__))


async def events(exchange: Exchange) -> None:
    """GET /api/events: a record whenever the store or the loaded models change."""
    await exchange.stream(exchange.services.events.stream())


ROUTES: Final = (
    # The first two let a client find out whether a server is here, so they ask for no key.
    Route(("GET", "HEAD"), "/", home, needs_key=False),
    Route(("GET", "HEAD"), "/api/version", version, needs_key=False),
    Route(("POST",), "/api/generate", generation.answer_generate),
    Route(("POST",), "/api/chat", generation.answer_chat),
    Route(("POST",), "/api/embed", generation.answer_embed),
    Route(("POST",), "/api/embeddings", generation.answer_embeddings),
    Route(("GET", "HEAD"), "/api/tags", models.tags),
    Route(("GET",), "/api/ps", models.ps),
    Route(("POST",), "/api/show", models.show_model),
    Route(("POST",), "/api/copy", models.copy_model),
    Route(("DELETE",), "/api/delete", models.delete_model),
    Route(("POST",), "/api/create", models.create_model),
    Route(("HEAD",), "/api/blobs/:digest", blobs.has_blob),
    Route(("POST",), "/api/blobs/:digest", blobs.receive_blob, is_upload=True),
    Route(("GET",), "/api/events", events),
)


def make_app(services: Services) -> Application:
    """The application that answers by the table."""
    by_path: dict[str, dict[str, Route]] = defaultdict(dict)
    for route in ROUTES:
        for method in route.methods:
            by_path[route.path][method] = route
    rules: list[tuple[str, type[RequestHandler], dict[str, Any]]] = []
    for path, routes in by_path.items():
        pattern = re.sub(r":[a-z]+", "([^/]+)", path)
        rules.append((pattern, Exchange, {"services": services, "routes": routes}))
        if path != "/":
            slashed = dict.fromkeys(RequestHandler.SUPPORTED_METHODS, Route((), path, _redirect))
            rules.append((f"{pattern}/", Exchange, {"services": services, "routes": slashed}))
    return Application(
        rules,
        default_handler_class=Exchange,
        default_handler_args={"services": services, "routes": {}},
        log_function=_log_nothing,
    )


async def _redirect(exchange: Exchange, *_parts: str) -> None:
    """A path with a slash too many: the same without it, as the reference's router does."""
    path, mark, query = (exchange.request.uri or "").partition("?")
    exchange.set_header("Location", path.rstrip("/") + mark + query)
    await exchange.send_empty(301 if exchange.request.method == "GET" else 307)


def _log_nothing(_handler: RequestHandler) -> None:
    """`Exchange` writes the access log: it knows what must stay out of it."""
