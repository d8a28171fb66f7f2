"""One timed request over REST."""

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A finished stream.

    Attributes:
        first_ns: from the request to the first record.
        total_ns: from the request to the last.
        last: the last record.
    """

    first_ns: int
    total_ns: int
    last: dict[str, Any]


def generate(url: str, body: dict[str, Any]) -> Timed:
    """Send a generate request and read its stream to the end."""
    request = urllib.request.Request(f"{url}/api/generate", json.dumps(body).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    started = time.perf_counter_ns()
    first = 0
    last: dict[str, Any] = {}
    with opener.open(request) as reply:
        for line in reply:
            first = first or time.perf_counter_ns()
            last = json.loads(line)
    ended = time.perf_counter_ns()
    return Timed(first_ns=first - started, total_ns=ended - started, last=last)
