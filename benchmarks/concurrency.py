"""Eight at once: against one alone, and with a shared prefix against the same without sharing."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from benchmarks.rest import Timed, generate
from scripts.temporary_server import temporary_server

STREAMS: Final = 8
ROUNDS: Final = 5
MODEL: Final = "smollm2:135m"
QUESTION: Final = "What is the capital of Japan?"
PROMPTS: Final = (QUESTION, "Tell me a long story about a lighthouse.")


def _at_once(url: str, bodies: list[dict[str, Any]]) -> tuple[list[Timed], int]:
    """All answers, and the nanoseconds until the last of them."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        started = time.perf_counter_ns()
        answers = list(pool.map(lambda body: generate(url, body), bodies))
        return answers, time.perf_counter_ns() - started


def throughput(prompt: str) -> dict[str, Any]:
    """Tokens per second of eight streams together, beside one alone; rounds in turns."""
    body = {"model": MODEL, "prompt": prompt, "options": {"temperature": 0, "num_predict": 64}}
    alone: list[float] = []
    together: list[float] = []
    with temporary_server() as server:
        generate(server.url, body)
        for _ in range(ROUNDS):
            for count, rates in ((1, alone), (STREAMS, together)):
                answers, took_ns = _at_once(server.url, [body] * count)
                rates.append(sum(a.last["eval_count"] for a in answers) * 1e9 / took_ns)
    ratio = statistics.median(together) / statistics.median(alone)
    return {
        "prompt": prompt,
        "alone": alone,
        "together": together,
        "ratio_together_to_alone": ratio,
    }


def shared_prefix() -> dict[str, Any]:
    """Seconds of eight cold requests on one 1,000-token system prompt, with and without sharing."""
    seconds: dict[str, list[float]] = {"shared": [], "apart": []}
    tokens = 0
    for name, setting in (("shared", "1"), ("apart", "0")):
        with temporary_server(OLLAMA_JUPYTER_PREFIX_SHARING=setting) as server:
            generate(server.url, {"model": MODEL, "prompt": "Hi", "options": {"num_predict": 1}})
            for round_ in range(3):
                rules = " ".join(f"Rule {n * 3 + round_ * 1000}: be kind." for n in range(110))
                bodies = [
                    {
                        "model": MODEL,
                        "system": rules,
                        "prompt": f"Question {n}: {QUESTION}",
                        "options": {"temperature": 0, "num_predict": 16},
                    }
                    for n in range(STREAMS)
                ]
                answers, took_ns = _at_once(server.url, bodies)
                tokens = max(tokens, *(a.last["prompt_eval_count"] for a in answers))
                seconds[name].append(took_ns / 1e9)
    ratio = statistics.median(seconds["shared"]) / statistics.median(seconds["apart"])
    return {"seconds": seconds, "prompt_tokens": tokens, "ratio_shared_to_apart": ratio}
