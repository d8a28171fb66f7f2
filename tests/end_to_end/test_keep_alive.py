"""A model leaves when it was told to (promise D7), and makes room when it must."""

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts.temporary_server import temporary_server
from tests.end_to_end.rest import MODEL, Rest, counting, runners, wait_until
from tests.end_to_end.weights import SECOND_MODEL, install_second_model

pytestmark = pytest.mark.engine


def _generate(rest: Rest, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 — JSON values
    status, reply = rest.post("/api/generate", counting(num_predict=2) | {"stream": False} | fields)
    assert status == 200
    return dict(reply)


def test_a_model_leaves_two_seconds_after_its_last_answer_and_returns_its_memory() -> None:
    with temporary_server() as server:
        rest = Rest(server.url)
        _generate(rest, keep_alive="2s")
        answered = time.monotonic()
        (runner,) = runners(server.process.pid)
        wait_until(lambda: not rest.loaded(), 4, "the model is gone")
        assert time.monotonic() - answered > 1.9
        runner.wait(2)


def test_the_time_is_counted_from_the_end_of_the_last_request() -> None:
    """A request longer than its keep-alive is never cut off by it."""
    with temporary_server() as server:
        rest = Rest(server.url)
        records = rest.records("/api/generate", counting(num_predict=600) | {"keep_alive": "1s"})
        assert records[-1]["done"]
        assert rest.loaded()
        wait_until(lambda: not rest.loaded(), 3, "the model is gone")


def test_a_negative_time_keeps_it_and_zero_unloads_at_once() -> None:
    with temporary_server(OLLAMA_KEEP_ALIVE="1s") as server:
        rest = Rest(server.url)
        _generate(rest, keep_alive=-1)
        (model,) = rest.loaded()
        assert int(model["expires_at"][:4]) > 2200
        _generate(rest, keep_alive=0)
        wait_until(lambda: not rest.loaded(), 2, "the model is gone")


def test_the_servers_own_setting_holds_when_a_request_says_nothing() -> None:
    with temporary_server(OLLAMA_KEEP_ALIVE="1s") as server:
        rest = Rest(server.url)
        _generate(rest)
        wait_until(lambda: not rest.loaded(), 3, "the model is gone")


@pytest.mark.parametrize("value", ["5", "soon", "1d", True, [], {}])
def test_a_time_that_makes_no_sense_is_400(rest: Rest, value: object) -> None:
    status, body = rest.post("/api/generate", {"model": MODEL, "keep_alive": value})
    assert status == 400
    assert body["error"]


def test_loading_a_second_model_evicts_the_first_when_memory_holds_one(tmp_path: Path) -> None:
    with temporary_server(
        OLLAMA_JUPYTER_MEMORY_LIMIT="400MiB", OLLAMA_CONTEXT_LENGTH="2048"
    ) as server:
        rest = Rest(server.url)
        install_second_model(rest, tmp_path)
        _generate(rest, keep_alive=-1)
        (first,) = runners(server.process.pid)
        _generate(rest, model=SECOND_MODEL)
        assert [model["name"] for model in rest.loaded()] == [SECOND_MODEL]
        psutil.wait_procs([first], timeout=2)
        assert not first.is_running()


def test_both_models_stay_when_memory_holds_two(tmp_path: Path) -> None:
    with temporary_server(OLLAMA_CONTEXT_LENGTH="2048") as server:
        rest = Rest(server.url)
        install_second_model(rest, tmp_path)
        _generate(rest)
        _generate(rest, model=SECOND_MODEL)
        names = {model["name"] for model in rest.loaded()}
        assert names == {MODEL, SECOND_MODEL}
