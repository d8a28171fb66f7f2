"""One stream: the same prompts through REST and through a bare loop, in turns.

The ratios compare medians. Prefill counts from the request to the first record, decode from the
first record to the last, both at the client.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.rest import generate
from scripts.temporary_server import TemporaryServer, temporary_server
from scripts.weights import embedded_model

ROUNDS: Final = 7
PREDICT: Final = 128
NUM_CTX: Final = 4096
NUM_BATCH: Final = 512
MODEL: Final = "smollm2:135m"
SETTING: Final = {"num_ctx": NUM_CTX, "num_batch": NUM_BATCH}


def prompts() -> list[str]:
    """One prompt a round, about 1,000 tokens, no two with an equal beginning."""
    body = " ".join(f"Line {n} tells about the number {n * 7}." for n in range(85))
    return [f"Report {round_ * 131}. {body} The story begins:" for round_ in range(ROUNDS + 1)]


@contextmanager
def bare_loop(threads: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the bare loop."""
    command = [sys.executable, "-m", "benchmarks.bare"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        _send(process, {"path": str(embedded_model()), "num_threads": threads, **SETTING})
        yield process
        if process.stdin is not None:
            process.stdin.close()


def _send(process: "subprocess.Popen[str]", value: dict[str, Any]) -> None:
    if process.stdin is None:
        raise SystemExit("benchmarks: the bare loop has no input")
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()


def sample_bare(process: "subprocess.Popen[str]", prompt: str) -> dict[str, int]:
    """One run of the bare loop."""
    _send(process, {"prompt": prompt, "tokens": PREDICT})
    if process.stdout is None:
        raise SystemExit("benchmarks: the bare loop has no output")
    reply: dict[str, int] = json.loads(process.stdout.readline())
    return reply


def sample_rest(server: TemporaryServer, prompt: str, threads: int) -> dict[str, int]:
    """The same run through REST, timed at the client, in an empty cache like the bare loop's."""
    generate(server.url, {"model": MODEL, "prompt": "", "keep_alive": 0})
    generate(
        server.url, {"model": MODEL, "prompt": "", "options": SETTING | {"num_thread": threads}}
    )
    options = {"temperature": 0, "num_predict": PREDICT, "num_thread": threads, **SETTING}
    body = {"model": MODEL, "prompt": prompt, "raw": True, "options": options}
    timed = generate(server.url, body)
    return {
        "prompt_tokens": timed.last["prompt_eval_count"],
        "cached_tokens": timed.last.get("prompt_eval_cached_count", 0),
        "prefill_ns": timed.first_ns,
        "tokens": timed.last["eval_count"],
        "decode_ns": timed.total_ns - timed.first_ns,
    }


def rates(samples: list[dict[str, int]]) -> dict[str, float]:
    """Median tokens per second, of prefill and of decode."""
    return {
        "prefill": statistics.median(s["prompt_tokens"] * 1e9 / s["prefill_ns"] for s in samples),
        "decode": statistics.median((s["tokens"] - 1) * 1e9 / s["decode_ns"] for s in samples),
    }


def measure() -> dict[str, Any]:
    """Both sides, in turns; the first round warms up and does not count."""
    threads = len(os.sched_getaffinity(0))
    rest: list[dict[str, int]] = []
    bare: list[dict[str, int]] = []
    with temporary_server() as server, bare_loop(threads) as process:
        for prompt in prompts():
            rest.append(sample_rest(server, prompt, threads))
            bare.append(sample_bare(process, prompt))
    rest, bare = rest[1:], bare[1:]
    ratios = {name: rates(rest)[name] / rates(bare)[name] for name in ("prefill", "decode")}
    return {
        "threads": threads,
        "setting": SETTING | {"num_predict": PREDICT, "rounds": ROUNDS},
        "rest": {"tokens_per_second": rates(rest), "samples": rest},
        "bare": {"tokens_per_second": rates(bare), "samples": bare},
        "ratio_rest_to_bare": ratios,
    }
