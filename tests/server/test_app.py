"""The table of routes: methods, paths, and the gate before all of them."""

from pathlib import Path

import pytest

from ollama_jupyter import __version__
from ollama_jupyter.server.app import ROUTES
from tests.server.web import Web, running

DIGEST = "sha256:" + "0" * 64


def _path(pattern: str) -> str:
    return pattern.replace(":digest", DIGEST)


async def test_home_says_what_runs_here(empty: Web) -> None:
    reply = await empty.get("/")
    assert (reply.status, reply.text) == (200, "Ollama is running")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert "server" not in reply.headers


async def test_version_is_ours(empty: Web) -> None:
    assert (await empty.get("/api/version")).json == {"version": __version__}


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags"])
async def test_head_answers_without_a_body(empty: Web, path: str) -> None:
    reply = await empty.ask("HEAD", path)
    assert reply.status == 200
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/nope", "/api", "/api/nope", "//", "/api//tags", "/API/TAGS"])
async def test_an_unknown_path_is_404_in_plain_text(empty: Web, path: str) -> None:
    reply = await empty.get(path)
    assert (reply.status, reply.text) == (404, "404 page not found")


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_a_method_that_is_not_in_the_table_is_405(empty: Web, path: str) -> None:
    reply = await empty.ask("PUT", _path(path))
    assert (reply.status, reply.text) == (405, "405 method not allowed")


async def test_a_method_nobody_knows_is_405(empty: Web) -> None:
    assert (await empty.ask("BREW", "/")).status == 405


async def test_options_by_address_is_405(empty: Web) -> None:
    assert (await empty.ask("OPTIONS", "/api/tags")).status == 405


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 301), ("POST", 307), ("DELETE", 307), ("HEAD", 307)]
)
async def test_a_slash_too_many_redirects(empty: Web, method: str, status: int) -> None:
    reply = await empty.ask(method, "/api/tags/?a=/b/")
    assert (reply.status, reply.headers["location"]) == (status, "/api/tags?a=/b/")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.methods[0]} {route.path}")
@pytest.mark.parametrize("key", ["", "Bearer wrong", "Bearer secre", "secret"])
async def test_every_route_but_two_asks_for_the_key(
    tmp_path: Path, route: object, key: str
) -> None:
    from ollama_jupyter.server.requests import Route

    assert isinstance(route, Route)
    async with running(tmp_path, api_key="secret") as web:
        for method in route.methods:
            reply = await web.ask(method, _path(route.path), Authorization=key)
            assert (reply.status == 401) == route.needs_key, method
            if route.needs_key and method != "HEAD":
                assert reply.json == {"error": "unauthorized"}
    assert route.needs_key == (route.path not in ("/", "/api/version"))


async def test_the_key_opens_and_unknown_paths_ask_for_it_too(tmp_path: Path) -> None:
    async with running(tmp_path, api_key="secret") as web:
        assert (await web.get("/api/tags", Authorization="Bearer secret")).status == 200
        assert (await web.get("/api/tags?api_key=secret")).status == 401
        assert (await web.get("/nope")).status == 401


@pytest.mark.parametrize("path", ["/", "/api/tags", "/nope"])
async def test_a_foreign_host_gets_an_empty_403(empty: Web, path: str) -> None:
    reply = await empty.get(path, Host="evil.example")
    assert (reply.status, reply.body) == (403, b"")
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}]
)
async def test_a_foreign_page_changes_nothing(empty: Web, headers: dict[str, str]) -> None:
    body = '{"source":"a","destination":"b"}'
    reply = await empty.post("/api/copy", body, Content_Type="text/plain", **headers)
    assert (reply.status, reply.body) == (403, b"")


async def test_a_local_page_may_read(empty: Web) -> None:
    reply = await empty.get("/api/tags", Origin="http://localhost:8888")
    assert reply.headers["access-control-allow-origin"] == "http://localhost:8888"
    assert "access-control-allow-credentials" not in reply.headers


async def test_a_preflight_is_204(empty: Web) -> None:
    reply = await empty.ask("OPTIONS", "/api/chat", Origin="http://localhost:8888")
    assert (reply.status, reply.body) == (204, b"")
    assert "POST" in reply.headers["access-control-allow-methods"]


async def test_http_1_0_without_a_host_is_refused(empty: Web) -> None:
    reader, writer = await empty.connect()
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 403")
