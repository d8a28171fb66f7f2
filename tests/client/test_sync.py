"""The blocking client against a real server in another process, and against raw sockets."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ollama_jupyter.api.types import ChatRequest, GenerateRequest, Message
from ollama_jupyter.client import calls
from ollama_jupyter.client.calls import Call
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Host
from ollama_jupyter.errors import BadRequest, ServerError, ServerUnreachable
from tests.fakes.contract_server import ContractServer


def ask(model: str, text: str = "one two") -> Call:
    return calls.chat(ChatRequest(model=model, messages=(Message(role="user", content=text),)))


@contextmanager
def raw_server(reply: bytes) -> Iterator[Client]:
    """A client of a server that answers one request with these bytes and hangs up."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Client(Host(port=listener.getsockname()[1]))
        thread.join(10)


# --- requests -------------------------------------------------------------------------------


def test_request_gives_the_decoded_reply(client: Client) -> None:
    assert client.request(calls.version()) == {"version": "0.12.3"}


def test_request_gives_text_when_the_reply_is_no_json(client: Client) -> None:
    assert client.request(calls.root()) == "Ollama is running"


def test_request_gives_none_when_the_reply_is_empty(client: Client) -> None:
    assert client.request(calls.copy("echo", "other")) is None


def test_request_raises_the_servers_text_and_status(client: Client) -> None:
    with pytest.raises(ServerError, match=r"^model 'nope' not found$") as raised:
        client.request(calls.show("nope"))
    assert raised.value.http_status == 404


def test_request_raises_when_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(ServerUnreachable, match=f"no answer from http://127.0.0.1:{port}"):
            Client(Host(port=port)).request(calls.version())


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"", id="hangs up"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", id="too short"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", id="no last chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"
        ),
    ],
)
def test_request_raises_when_the_reply_is_no_whole_one(reply: bytes) -> None:
    with raw_server(reply) as client, pytest.raises(ServerUnreachable):
        client.request(calls.version())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"plain"}', "plain"),
        (b'{"error":{"message":"nested","type":"x"}}', "nested"),
        (b"404 page not found", "404 page not found"),
        (b"", "400 Bad Request"),
    ],
)
def test_request_reads_what_an_error_reply_says(body: bytes, message: str) -> None:
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw_server(head + body) as client, pytest.raises(ServerError) as raised:
        client.request(calls.version())
    assert str(raised.value) == message


def test_request_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with ContractServer(unix=path) as server:
        assert Client(Host.parse(server.url)).request(calls.version()) == {"version": "0.12.3"}
    with pytest.raises(ServerUnreachable):
        Client(Host(scheme="unix", socket_path=tmp_path / "none")).request(calls.version())


def test_request_puts_the_prefix_of_the_address_before_the_path() -> None:
    with ContractServer() as server:
        client = Client(Host.parse(f"{server.url}/some/prefix"))
        with pytest.raises(ServerError):
            client.request(calls.version())
        assert server.next_event()["path"] == "/some/prefix/api/version"


def test_request_carries_the_key() -> None:
    with ContractServer(key="secret") as server:
        host = Host.parse(server.url)
        with pytest.raises(ServerError) as raised:
            Client(host).request(calls.version())
        assert raised.value.http_status == 401
        assert Client(host, api_key="secret").request(calls.version()) == {"version": "0.12.3"}


@pytest.mark.parametrize("key", ["two\nlines", "naïve"])
def test_client_refuses_a_key_no_header_can_carry(key: str) -> None:
    with pytest.raises(BadRequest, match="API key"):
        Client(Host(), api_key=key)


def test_client_does_not_show_its_key() -> None:
    assert "secret" not in repr(Client(Host(), api_key="secret"))


# --- streams --------------------------------------------------------------------------------


def test_stream_gives_each_record(client: Client) -> None:
    with client.stream(ask("echo")) as stream:
        records = list(stream)
        assert not stream.is_closed
    assert [record["message"]["content"] for record in records] == ["one ", "two ", ""]
    assert records[-1]["done"]


def test_stream_raises_when_the_server_refuses(client: Client) -> None:
    with pytest.raises(ServerError) as raised:
        client.stream(ask("nope"))
    assert raised.value.http_status == 404


def test_stream_raises_an_error_in_its_place(client: Client) -> None:
    stream = client.stream(ask("failing"))
    assert next(stream)["message"]["content"] == "one "
    with pytest.raises(ServerError, match="unexpectedly stopped"):
        next(stream)


def test_stream_raises_when_the_server_breaks_off(client: Client) -> None:
    stream = client.stream(ask("broken"))
    assert next(stream)["message"]["content"] == "one "
    with pytest.raises(ServerUnreachable, match="broke off"):
        next(stream)


def test_stream_raises_on_a_line_that_is_no_record() -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\nnot json\n") as client:
        stream = client.stream(calls.events())
        with pytest.raises(ServerUnreachable):
            next(stream)


def test_stream_joins_a_record_that_arrives_in_parts() -> None:
    parts = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"a":"\xc3\xa9"}\n\n{"b":1}')
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head + parts + b"0\r\n\r\n") as client:
        assert list(client.stream(calls.events())) == [{"a": "é"}, {"b": 1}]


def test_closing_a_stream_cancels_the_work(server: ContractServer, client: Client) -> None:
    with client.stream(ask("endless")) as stream:
        next(stream)
    assert stream.is_closed
    server.wait_for(closed="/api/chat")
    assert list(stream) == []


def test_stream_can_be_closed_by_another_thread(server: ContractServer, client: Client) -> None:
    stream = client.stream(ask("endless"))
    next(stream)
    closer = threading.Thread(target=stream.close)
    closer.start()
    for _ in stream:
        pass
    closer.join(10)
    server.wait_for(closed="/api/chat")


def test_stream_waiting_for_a_record_is_woken_by_a_close_in_another_thread() -> None:
    accepted = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"a":1}\n')
                accepted.set()
                connection.recv(65536)  # until the client hangs up

        thread = threading.Thread(target=serve)
        thread.start()
        stream = Client(Host(port=listener.getsockname()[1])).stream(calls.events())
        assert next(stream) == {"a": 1}
        closer = threading.Timer(0.05, stream.close)
        closer.start()
        assert list(stream) == []
        closer.join(10)
        thread.join(10)
    assert accepted.is_set()


def test_interrupt_reaches_a_stream_and_cancels_the_work(
    server: ContractServer, client: Client
) -> None:
    stream = client.stream(ask("endless"))
    next(stream)
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), stream:
        for _ in stream:
            pass
    server.wait_for(closed="/api/chat")
    timer.join()


# --- uploads --------------------------------------------------------------------------------


def test_upload_sends_a_file_once_and_tells_how_far_it_is(
    server: ContractServer, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * 3_000_000)
    seen: list[tuple[int, int]] = []
    digest = client.upload(path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3_000_000, 3_000_000)
    assert client.has_blob(digest)
    seen.clear()
    assert client.upload(path, on_progress=lambda done, total: seen.append((done, total))) == digest
    assert seen == []


def test_upload_raises_when_the_file_is_not_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot read"):
        client.upload(tmp_path / "none")


def test_generate_streams_too(client: Client) -> None:
    stream = client.stream(calls.generate(GenerateRequest(model="echo", prompt="a b")))
    assert [record["response"] for record in stream] == ["a ", "b ", ""]
