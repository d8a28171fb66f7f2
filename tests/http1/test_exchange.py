"""The exchange against servers that answer well, slowly, wrongly or not at all."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ollama_jupyter.http1 import exchange

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(folder: Path, answer: Answer) -> AsyncIterator[Path]:
    """A server on a Unix socket that reads a request's head and then does what `answer` does."""

    path = folder / "s"
    server = await asyncio.start_unix_server(closing(answer), path)
    async with server:
        yield path


def closing(answer: Answer) -> Answer:
    """The same answer with the connection closed after it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    return handle


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def replying(data: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(data)
        await writer.drain()

    return answer


async def test_send_gives_status_headers_and_body_when_answered(short_dir: Path) -> None:
    reply = b"HTTP/1.1 404 Not Found\r\nX-Kind: test\r\nContent-Length: 4\r\n\r\nnope"
    async with (
        serving(short_dir, replying(reply)) as path,
        await exchange.send(path, "GET", "/x") as response,
    ):
        assert (response.status, response.reason) == (404, "Not Found")
        assert response.headers["x-kind"] == "test"
        assert await response.read(100) == b"nope"


async def test_send_writes_method_path_headers_and_body_when_given(short_dir: Path) -> None:
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head_of(reader))
        seen.append((await reader.readexactly(5)).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        serving(short_dir, answer) as path,
        await exchange.send(
            path, "POST", "/a?b=c", headers={"X-One": "1"}, body=b"hello"
        ) as response,
    ):
        assert await response.read(0) == b""
    assert seen[0].startswith("POST /a?b=c HTTP/1.1\r\n")
    assert "X-One: 1\r\n" in seen[0]
    assert "Content-Length: 5\r\n" in seen[0]
    assert seen[1] == "hello"


async def test_send_streams_a_body_in_chunks_when_it_comes_in_pieces(short_dir: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        body = await reader.readuntil(b"0\r\n\r\n")
        assert "Transfer-Encoding: chunked" in head
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with (
        serving(short_dir, answer) as path,
        await exchange.send(path, "POST", "/", body=pieces()) as response,
    ):
        assert await response.read(100) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_response_yields_pieces_as_they_come_when_chunked(short_dir: Path) -> None:
    is_seen = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await writer.drain()
        await is_seen.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with (
        serving(short_dir, answer) as path,
        await exchange.send(path, "GET", "/") as response,
    ):
        pieces = []
        async for piece in response:
            pieces.append(piece)
            is_seen.set()
    assert pieces == [b"one", b"two"]


async def test_response_body_ends_with_the_connection_when_it_has_no_length(
    short_dir: Path,
) -> None:
    async with (
        serving(short_dir, replying(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as path,
        await exchange.send(path, "GET", "/") as response,
    ):
        assert await response.read(100) == b"all of it"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
    ],
    ids=["nothing", "half a head", "other protocol", "bad header"],
)
async def test_send_raises_reset_when_the_head_is_bad(short_dir: Path, reply: bytes) -> None:
    async with serving(short_dir, replying(reply)) as path:
        with pytest.raises(ConnectionResetError):
            await exchange.send(path, "GET", "/")


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 10\r\n\r\nfive",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\non",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\none\r\n",
    ],
    ids=["short", "in a chunk", "between chunks", "bad size"],
)
async def test_response_raises_reset_when_the_body_breaks(short_dir: Path, body: bytes) -> None:
    async with (
        serving(short_dir, replying(b"HTTP/1.1 200 OK\r\n" + body)) as path,
        await exchange.send(path, "GET", "/") as response,
    ):
        with pytest.raises(ConnectionResetError):
            await response.read(100)


async def test_read_raises_reset_when_the_body_is_over_the_limit(short_dir: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    async with (
        serving(short_dir, replying(reply)) as path,
        await exchange.send(path, "GET", "/") as response,
    ):
        with pytest.raises(ConnectionResetError, match="longer than 999"):
            await response.read(999)


async def test_send_raises_oserror_when_nobody_listens(short_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await exchange.send(short_dir / "none", "GET", "/")


async def test_send_raises_oserror_when_no_tcp_port_listens() -> None:
    with pytest.raises(ConnectionRefusedError):
        await exchange.send(("127.0.0.1", 1), "GET", "/")


async def test_send_reaches_a_tcp_server_when_given_host_and_port() -> None:
    server = await asyncio.start_server(
        closing(replying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")), "127.0.0.1", 0
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with await exchange.send(("127.0.0.1", port), "GET", "/") as response:
            assert await response.read(10) == b"ok"


async def test_send_raises_timeout_when_no_head_comes(short_dir: Path) -> None:
    is_closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()
        is_closed.set()

    async with serving(short_dir, answer) as path:
        with pytest.raises(TimeoutError):
            await exchange.send(path, "GET", "/", head_timeout_seconds=0.05)
        await asyncio.wait_for(is_closed.wait(), 5)


async def test_response_raises_timeout_when_the_body_pauses(short_dir: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    async with (
        serving(short_dir, answer) as path,
        await exchange.send(path, "GET", "/", idle_timeout_seconds=0.05) as response,
    ):
        assert await anext(response) == b"half"
        with pytest.raises(TimeoutError):
            await anext(response)


async def test_close_is_seen_by_the_server_when_the_body_is_unread(short_dir: Path) -> None:
    is_closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await reader.read()
        is_closed.set()

    async with serving(short_dir, answer) as path:
        response = await exchange.send(path, "GET", "/")
        await response.close()
        await asyncio.wait_for(is_closed.wait(), 5)
        await response.close()


async def test_send_closes_the_connection_when_it_is_cancelled(short_dir: Path) -> None:
    is_asked, is_closed = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        is_asked.set()
        await reader.read()
        is_closed.set()

    async with serving(short_dir, answer) as path:
        task = asyncio.create_task(exchange.send(path, "GET", "/"))
        await is_asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(is_closed.wait(), 5)


async def test_close_ends_an_upload_when_its_giver_still_waits(short_dir: Path) -> None:
    is_given_up = asyncio.Event()

    async def never_ends() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            is_given_up.set()

    reply = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    async with serving(short_dir, replying(reply)) as path:
        async with await exchange.send(path, "POST", "/", body=never_ends()) as response:
            assert response.status == 413
        await asyncio.wait_for(is_given_up.wait(), 5)


async def test_a_slow_reader_slows_the_sender_down_when_the_body_is_long(short_dir: Path) -> None:
    is_stuck = asyncio.Event()
    sent_bytes = 0
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while sent_bytes < 64 << 20:
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), 0.3)
                sent_bytes += len(piece)
        except TimeoutError:
            is_stuck.set()
            writer.transport.abort()

    async with (
        serving(short_dir, answer) as path,
        await exchange.send(path, "GET", "/") as response,
    ):
        await anext(response)
        await asyncio.wait_for(is_stuck.wait(), 10)
    assert sent_bytes < 4 << 20


async def test_exchanges_leave_no_descriptor_open_when_they_end_in_every_way(
    short_dir: Path,
) -> None:
    async def many(path: Path) -> None:
        for _ in range(20):
            async with await exchange.send(path, "GET", "/") as response:
                await response.read(100)
            response = await exchange.send(path, "GET", "/")
            await response.close()

    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with serving(short_dir, replying(reply)) as path:
        await many(path)
        gc.collect()
        before = descriptors()
        await many(path)
        await asyncio.sleep(0)
        gc.collect()
        assert descriptors() <= before + 1
