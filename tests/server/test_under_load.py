"""A server with a real model: told to end while it answers, and asked while it works."""

import concurrent.futures
import json
import signal
import statistics
import subprocess
import time

import psutil
import pytest

from scripts.temporary_server import temporary_server
from tests.end_to_end.rest import MODEL, Rest, counting, runners

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("num_predict", [20, 2000])
def test_a_signal_lets_short_answers_end_and_ends_long_ones_with_an_error(num_predict: int) -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        rest.post("/api/generate", {"model": MODEL})
        body = counting(num_predict=num_predict)
        exchanges = [rest.open("POST", "/api/generate", body) for _ in range(3)]
        for exchange in exchanges:
            exchange.next_record()
        left = runners(server.process.pid)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        lasts = [list(exchange.records())[-1] for exchange in exchanges]
        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 10
        _, alive = psutil.wait_procs(left, timeout=1)
        assert not alive
        assert not list((server.home / "run").glob("server-*.json"))
        log = server.log.read_text()
    if num_predict == 20:
        assert all(last["done_reason"] == "length" for last in lasts)
    for last in lasts:
        assert last.get("done") or last == {"error": "the server is shutting down"}
    assert "Traceback" not in log


def test_a_second_signal_ends_server_and_runner_at_once() -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        exchange = rest.open("POST", "/api/generate", counting(num_predict=4000))
        exchange.next_record()
        left = runners(server.process.pid)
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(2)
        _, alive = psutil.wait_procs(left, timeout=2)
        assert not alive
        assert not list((server.home / "run").glob("server-*.json"))
        exchange.close()


def test_the_server_answers_at_once_while_it_loads_and_renders() -> None:
    """Promise E4, with room for a busy machine: the median is tight, no answer takes long."""
    with temporary_server() as server:
        rest = Rest(server.url)
        big = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "word " * 200_000}],
            "options": {"num_predict": 1},
            "stream": False,
        }
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            work = pool.submit(rest.post, "/api/chat", big)
            taken: list[float] = []
            while not work.done():
                started = time.monotonic()
                rest.get("/api/version")
                taken.append(time.monotonic() - started)
                time.sleep(0.01)  # the pace of asking
            status, reply = work.result()
    assert status == 200, json.dumps(reply)
    assert len(taken) > 20
    assert statistics.median(taken) < 0.05
    assert max(taken) < 1.0
