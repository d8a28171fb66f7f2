"""Processes that die, hang or are told to end (promises D1, D2, D10, D11)."""

import concurrent.futures
import http.client
import signal
import time
from pathlib import Path

import psutil
import pytest

from scripts.temporary_server import TemporaryServer, temporary_server
from tests.end_to_end.rest import MODEL, TOKYO, Rest, counting, runners, wait_until
from tests.end_to_end.weights import SECOND_MODEL, install_second_model

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_runner_gives_one_error_record_and_the_next_request_works(
    number: signal.Signals,
) -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        exchange = rest.open("POST", "/api/generate", counting())
        exchange.next_record()
        (runner,) = runners(server.process.pid)
        runner.send_signal(number)
        killed = time.monotonic()
        records = list(exchange.records())
        assert time.monotonic() - killed < 2
        assert set(records[-1]) == {"error"}
        assert all(record["done"] is False for record in records[:-1])
        assert rest.records("/api/chat", TOKYO)[-1]["done"]
        # The dead one was reaped, not left as a zombie.
        states = [c.status() for c in psutil.Process(server.process.pid).children()]
        assert psutil.STATUS_ZOMBIE not in states


def test_the_streams_of_other_models_outlive_a_killed_runner(tmp_path: Path) -> None:
    with temporary_server(OLLAMA_CONTEXT_LENGTH="2048") as server:
        rest = Rest(server.url)
        install_second_model(rest, tmp_path)
        first = rest.open("POST", "/api/generate", counting(num_predict=300))
        first.next_record()
        (spared,) = runners(server.process.pid)
        second = rest.open("POST", "/api/generate", counting() | {"model": SECOND_MODEL})
        second.next_record()
        (killed,) = (r for r in runners(server.process.pid) if r.pid != spared.pid)
        killed.kill()
        assert set(list(second.records())[-1]) == {"error"}
        last = list(first.records())[-1]
        assert (last["done_reason"], last["eval_count"]) == ("length", 300)


def test_no_runner_outlives_a_server_killed_when_idle() -> None:
    with temporary_server() as server:
        Rest(server.url).post("/api/generate", {"model": MODEL})
        _kill_and_expect_no_runner(server)


def test_no_runner_outlives_a_server_killed_while_generating() -> None:
    with temporary_server() as server:
        exchange = Rest(server.url).open("POST", "/api/generate", counting())
        exchange.next_record()
        _kill_and_expect_no_runner(server)
        exchange.close()


def test_no_runner_outlives_a_server_killed_while_loading() -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            request = pool.submit(rest.records, "/api/generate", counting())
            wait_until(lambda: runners(server.process.pid), 30, "a runner starts")
            _kill_and_expect_no_runner(server)
            with pytest.raises((OSError, ValueError, http.client.HTTPException)):
                request.result()


def _kill_and_expect_no_runner(server: TemporaryServer) -> None:
    found = runners(server.process.pid)
    assert found
    server.process.kill()
    wait_until(lambda: not any(_is_alive(runner) for runner in found), 2, "no runner is alive")


def _is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that is dead may wait for the system to collect it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_cold_requests_at_once_spawn_one_runner() -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        seen: set[int] = set()

        def ask(_: int) -> bool:
            done = rest.records("/api/generate", counting(num_predict=4))[-1]["done"]
            seen.update(runner.pid for runner in runners(server.process.pid))
            return bool(done)

        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            assert all(pool.map(ask, range(20)))
        assert len(seen) == 1


def test_clients_that_vanish_while_loading_leave_nothing() -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        body = counting()
        gone = [_send_and_leave(rest, body) for _ in range(5)]
        assert len(gone) == 5
        wait_until(lambda: not any(m["running"] for m in rest.loaded()), 20, "nothing runs")
        assert rest.records("/api/chat", TOKYO)[-1]["done"]
        assert len(runners(server.process.pid)) == 1


def _send_and_leave(rest: Rest, body: object) -> bool:
    rest.send("POST", "/api/generate", body).close()
    return True


def test_stop_during_a_generation_lets_it_finish_and_reload_works() -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        exchange = rest.open("POST", "/api/generate", counting(num_predict=150))
        exchange.next_record()
        status, reply = rest.post("/api/generate", {"model": MODEL, "keep_alive": 0})
        assert (status, reply["done_reason"]) == (200, "unload")
        assert list(exchange.records())[-1]["done_reason"] == "length"
        wait_until(lambda: not rest.loaded(), 10, "the model is gone")
        assert rest.records("/api/chat", TOKYO)[-1]["done"]


@pytest.mark.parametrize("_round", range(3))
def test_stop_during_a_load_ends_the_request_one_way_or_the_other(_round: int) -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            request = pool.submit(rest.records, "/api/generate", counting(num_predict=5))
            wait_until(lambda: runners(server.process.pid), 30, "a runner starts")
            assert rest.post("/api/generate", {"model": MODEL, "keep_alive": 0})[0] == 200
            last = request.result(30)[-1]
        assert last.get("done") or "error" in last
        wait_until(lambda: not rest.loaded(), 10, "the model is gone")
        assert rest.records("/api/chat", TOKYO)[-1]["done"]
