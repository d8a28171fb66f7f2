"""Requests no client of good will sends: each is refused and its connection closed."""

import pytest

from tests.server.web import Web

HOST = b"Host: localhost\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /api/chat HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /api/chat HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\n{}",
        b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
        b"GET /\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
)
async def test_a_malformed_request_gets_no_answer_of_a_route(web: Web, head: bytes) -> None:
    reader, writer = await web.connect()
    writer.write(head)
    writer.write_eof()
    answer = await reader.read()
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"403")
    assert b"Traceback" not in answer
    assert (await web.get("/api/version")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/blobs/sha256:%ff%fe",
        "/api/tags?" + "&".join(f"a{n}=1" for n in range(5000)),
        "/api/tags?%",
        "/%00",
        "/api/../api/tags",
        "/" + "a" * 20_000,
    ],
)
async def test_an_odd_path_is_answered_or_refused_but_never_fails(web: Web, path: str) -> None:
    reader, writer = await web.open("GET", path)
    line = await reader.readline()
    assert line == b"" or line.split(b" ")[1] in (b"200", b"400", b"404", b"405")
    writer.close()
    assert (await web.get("/api/version")).status == 200


async def test_a_pipelined_request_waits_for_its_turn(web: Web) -> None:
    reader, writer = await web.connect()
    writer.write((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 2)
    text = b""
    while text.count(b"Ollama is running") < 2:
        piece = await reader.read(4096)
        assert piece
        text += piece
