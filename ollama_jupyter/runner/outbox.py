"""Pieces of answers on their way from the engine's thread to the loop: joined, and paced.

A record costs about a millisecond of processor time until a client has it, through three
processes. A small model makes a token in less than ten, on the same cores. So the tokens of one
stream share a record when they come faster than anybody can read: the first token, the last and
every error go at once, the others at a pace that eight streams together can afford.
"""

from collections.abc import Callable, Sequence
from typing import TypeGuard

from ollama_jupyter.runner.generation import Sink
from ollama_jupyter.runner.wire import CompletionChunk, EmbeddingReply

Outcome = CompletionChunk | EmbeddingReply | Exception
Publish = Callable[[Sequence[tuple[Sink, Outcome]]], None]

_PACE_NS = 75_000_000
_SLOWEST_PACE_NS = 100_000_000


class Outbox:
    """What was not published yet; used by the engine's thread alone."""

    def __init__(self, publish: Publish) -> None:
        """Start empty.

        Args:
            publish: takes everything that is due, in one call.
        """
        self._publish = publish
        self._outcomes: dict[int, tuple[Sink, list[Outcome]]] = {}
        self._is_urgent = False
        self._flushed_ns = 0

    def put(self, sink: Sink, outcome: Outcome, *, is_urgent: bool = False) -> None:
        """Keep an outcome for the next flush, joined to the text that waits before it."""
        _, outcomes = self._outcomes.setdefault(id(sink), (sink, []))
        last = outcomes[-1] if outcomes else None
        if _is_text(last) and _is_text(outcome):
            outcomes[-1] = _join(last, outcome)
        else:
            outcomes.append(outcome)
        if is_urgent or not _is_text(outcome) or outcome.done:
            self._is_urgent = True

    def flush(self, now_ns: int, *, streams: int) -> None:
        """Publish, when something is urgent or it is time.

        Args:
            now_ns: a clock that only goes forward.
            streams: how many answers share the cores; nothing is held back when there is none.
        """
        if not self._outcomes:
            return
        pace_ns = min(streams * _PACE_NS, _SLOWEST_PACE_NS)
        if not self._is_urgent and now_ns - self._flushed_ns < pace_ns:
            return
        due = [(sink, outcome) for sink, all_ in self._outcomes.values() for outcome in all_]
        self._outcomes = {}
        self._is_urgent = False
        self._flushed_ns = now_ns
        self._publish(due)


def _is_text(outcome: Outcome | None) -> TypeGuard[CompletionChunk]:
    """Whether it is part of an answer's text, and no report of progress."""
    return isinstance(outcome, CompletionChunk) and not outcome.prefill_total


def _join(first: CompletionChunk, second: CompletionChunk) -> CompletionChunk:
    """One piece that says what both said; only the second can be the last."""
    return CompletionChunk(
        text=first.text + second.text,
        tokens=first.tokens + second.tokens,
        logprobs=first.logprobs + second.logprobs,
        done=second.done,
        stop_reason=second.stop_reason,
        truncated_tokens=second.truncated_tokens,
        timings=second.timings,
    )
