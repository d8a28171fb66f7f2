"""A closed connection stops the work, wherever it stands (promise E1)."""

import http.client
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.temporary_server import TemporaryServer, temporary_server
from tests.end_to_end.rest import MODEL, Rest, counting, engines_running, runners, wait_until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server() -> Iterator[TemporaryServer]:
    with temporary_server(OLLAMA_CONTEXT_LENGTH="8192") as server:
        Rest(server.url).post("/api/generate", {"model": MODEL})
        yield server


@pytest.fixture
def rest(server: TemporaryServer) -> Rest:
    return Rest(server.url)


def _long_prompt(words: int) -> dict[str, Any]:
    text = " ".join(f"word{n}" for n in range(words))
    return counting(num_predict=8) | {"prompt": text}


def _leave(connection: http.client.HTTPConnection, how: str) -> None:
    """Go away in one of the ways a client can."""
    taken = connection.sock
    assert taken is not None
    if how == "half-close":
        taken.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_leaving_during_generation_frees_the_slot(
    server: TemporaryServer, rest: Rest, path: str, is_stream: bool, how: str
) -> None:
    body = counting() | {"stream": is_stream}
    if path == "/api/chat":
        body |= {"messages": [{"role": "user", "content": "Count from one to five hundred."}]}
    connection = rest.send("POST", path, body)
    wait_until(lambda: engines_running(server) == 1, 20, "it runs")
    _leave(connection, how)
    assert wait_until(lambda: engines_running(server) == 0, 5, "the slot is free") < 0.5
    connection.close()


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_request_left_in_the_queue_never_starts(how: str) -> None:
    with temporary_server(OLLAMA_NUM_PARALLEL="1") as server:
        rest = Rest(server.url)
        first = rest.open("POST", "/api/generate", counting(num_predict=300))
        first.next_record()
        unheard = _long_prompt(40)
        queued = rest.send("POST", "/api/generate", unheard)
        _leave(queued, how)
        assert list(first.records())[-1]["done"]
        wait_until(lambda: engines_running(server) == 0, 5, "nothing runs")
        # Had it been evaluated, its tokens would be in the cache.
        last = rest.records("/api/generate", unheard)[-1]
        assert last["prompt_eval_count"] > 80
        assert last.get("prompt_eval_cached_count", 0) < 5
        again = rest.records("/api/generate", unheard)[-1]
        assert again["prompt_eval_cached_count"] > 80
        queued.close()


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_request_left_while_loading_leaves_no_work(how: str) -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        connection = rest.send("POST", "/api/generate", counting())
        wait_until(lambda: runners(server.process.pid), 30, "a runner starts")
        _leave(connection, how)
        wait_until(lambda: engines_running(server) == 0, 30, "nothing runs")
        golden = rest.records("/api/generate", counting(num_predict=20))
        assert _text(golden) == _text(rest.records("/api/generate", counting(num_predict=20)))
        connection.close()


def test_leaving_during_prefill_frees_the_slot_and_others_go_on(
    server: TemporaryServer, rest: Rest
) -> None:
    undisturbed = [_text(rest.records("/api/generate", _stream(n))) for n in range(3)]
    exchanges = [rest.open("POST", "/api/generate", _stream(n)) for n in range(3)]
    texts = [exchange.next_record()["response"] for exchange in exchanges]
    connection = rest.send("POST", "/api/generate", _long_prompt(1200))
    wait_until(lambda: engines_running(server) == 4, 10, "the long prompt is being evaluated")
    connection.close()
    assert wait_until(lambda: engines_running(server) == 3, 5, "the slot is free") < 0.5
    for number, exchange in enumerate(exchanges):
        text = texts[number] + _text(list(exchange.records()))
        assert text == undisturbed[number]


def _stream(number: int) -> dict[str, Any]:
    start = ", ".join(str(n) for n in range(number * 100, number * 100 + 12))
    return counting(num_predict=160) | {"prompt": start + ","}


def _text(records: list[dict[str, Any]]) -> str:
    return "".join(record["response"] for record in records)
