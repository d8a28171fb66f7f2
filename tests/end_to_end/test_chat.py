"""The first thing that must work: a real model answers over REST."""

import concurrent.futures
import json
import shutil
import subprocess
from typing import Any

import pytest

from scripts.temporary_server import TemporaryServer, temporary_server
from tests.end_to_end.rest import MODEL, TOKYO, Rest, counting

pytestmark = pytest.mark.engine

METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


def _answer(records: list[dict[str, Any]]) -> str:
    return "".join(record["message"]["content"] for record in records)


def test_curl_streams_tokyo_and_plausible_figures(shared_server: TemporaryServer) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    command = [curl, "-sS", "-d", json.dumps(TOKYO), f"{shared_server.url}/api/chat"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert "Tokyo" in _answer(records)
    last = records[-1]
    assert last["done"] is True
    assert last["done_reason"] == "stop"
    assert [record["done"] for record in records[:-1]] == [False] * (len(records) - 1)
    assert all(last[name] > 0 for name in METRICS)
    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert parts <= last["total_duration"] < 120e9
    # The question is nine or ten tokens inside a dozen of template.
    assert 10 <= last["prompt_eval_count"] <= 60
    assert len(records) - 2 <= last["eval_count"] <= 200


def test_a_stream_and_a_single_reply_say_the_same(rest: Rest) -> None:
    status, single = rest.post("/api/chat", TOKYO | {"stream": False})
    assert status == 200
    assert single["message"]["content"] == _answer(rest.records("/api/chat", TOKYO))


def test_eight_requests_at_once_all_answer(rest: Rest) -> None:
    def ask(_: int) -> list[dict[str, Any]]:
        return rest.records("/api/chat", TOKYO)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert all("Tokyo" in _answer(records) for records in answers)
    assert all(records[-1]["done"] for records in answers)


def test_a_length_limit_is_told_as_the_reason(rest: Rest) -> None:
    last = rest.records("/api/generate", counting(num_predict=7))[-1]
    assert (last["done_reason"], last["eval_count"]) == ("length", 7)


def test_a_conversation_remembers_what_was_said(rest: Rest) -> None:
    messages = [
        {"role": "user", "content": "My name is Hanako. Remember it."},
        {"role": "assistant", "content": "Nice to meet you, Hanako."},
        {"role": "user", "content": "What is my name?"},
    ]
    request = TOKYO | {"messages": messages, "stream": False}
    assert "Hanako" in rest.post("/api/chat", request)[1]["message"]["content"]


def test_an_unknown_model_is_404_and_names_it(rest: Rest) -> None:
    status, body = rest.post("/api/chat", TOKYO | {"model": "nobody"})
    assert status == 404
    assert body == {"error": "model 'nobody' not found"}


def test_an_idle_server_is_small() -> None:
    """Under 80 MB resident before the first model."""
    import psutil

    with temporary_server() as server:
        Rest(server.url).get("/api/tags")
        resident = psutil.Process(server.process.pid).memory_info().rss
    assert resident < 80e6


def test_the_embedded_model_is_listed_before_anything_was_done() -> None:
    with temporary_server() as server:
        names = [model["name"] for model in Rest(server.url).get("/api/tags")["models"]]
    assert names == [MODEL]
