"""More requests than a model can take (promise E3), and how streams end (promise E5)."""

import concurrent.futures
import http.client
import json
import time
from typing import Any

import pytest

from scripts.temporary_server import temporary_server
from tests.end_to_end.rest import MODEL, Rest, counting, runners

pytestmark = pytest.mark.engine


def test_a_full_queue_refuses_at_once_and_the_rest_is_served() -> None:
    with temporary_server(OLLAMA_MAX_QUEUE="8", OLLAMA_NUM_PARALLEL="1") as server:
        rest = Rest(server.url)
        rest.post("/api/generate", {"model": MODEL})

        def ask(_: int) -> tuple[int, Any, float]:
            started = time.monotonic()
            body = counting(num_predict=150) | {"stream": False}
            status, reply = rest.post("/api/generate", body)
            return status, reply, time.monotonic() - started

        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            outcomes = list(pool.map(ask, range(40)))
    refused = [outcome for outcome in outcomes if outcome[0] == 503]
    assert len(refused) == 31
    assert sum(outcome[0] == 200 for outcome in outcomes) == 9
    text = "server busy, please try again.  maximum pending requests exceeded"
    assert all(outcome[1] == {"error": text} for outcome in refused)


@pytest.mark.parametrize("ending", ["stop", "length", "stop string", "crash", "refused"])
def test_every_stream_ends_in_exactly_one_terminal_record(ending: str) -> None:
    body = counting(num_predict=40)
    if ending == "stop":
        body = {"model": MODEL, "prompt": "Say yes.", "options": {"temperature": 0}}
    elif ending == "stop string":
        body["options"]["stop"] = ["20"]
    elif ending == "refused":
        body |= {"prompt": "word " * 9000, "truncate": False, "shift": False}
    elif ending == "crash":
        body["options"]["num_predict"] = 2000
    with temporary_server() as server:
        exchange = Rest(server.url).open("POST", "/api/generate", body)
        lines = [exchange.reply.readline()]
        if ending == "crash":
            runners(server.process.pid)[0].kill()
        try:
            lines += list(exchange.reply)
        except http.client.IncompleteRead as error:
            raise AssertionError("the stream was cut") from error
        exchange.close()
    records = [json.loads(line) for line in lines if line]
    terminal = [record for record in records if record.get("done") or "error" in record]
    assert terminal == records[-1:]
    assert ("error" in terminal[0]) == (ending in ("crash", "refused"))
