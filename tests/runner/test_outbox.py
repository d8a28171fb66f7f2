"""What goes to the loop, and when."""

from collections.abc import Sequence

import pytest

pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")

from ollama_jupyter.errors import RunnerError
from ollama_jupyter.runner.generation import Sink
from ollama_jupyter.runner.outbox import Outbox, Outcome
from ollama_jupyter.runner.wire import CompletionChunk, EmbeddingReply, Timings, TokenInfo

MS = 1_000_000
TIMINGS = Timings(
    queue_ns=1,
    prompt_tokens=2,
    prompt_cached_tokens=0,
    prompt_ns=3,
    generated_tokens=4,
    generate_ns=5,
)


class _Reader:
    """A sink that is only told apart from others."""

    def put(self, piece: CompletionChunk | EmbeddingReply) -> None:
        raise AssertionError("pieces are delivered in the loop")

    def fail(self, error: Exception) -> None:
        raise AssertionError("errors are delivered in the loop")


class _Published:
    """An outbox and what came out of it, one list a flush."""

    def __init__(self) -> None:
        self.flushes: list[list[tuple[Sink, Outcome]]] = []
        self.outbox = Outbox(self._take)

    def _take(self, pieces: Sequence[tuple[Sink, Outcome]]) -> None:
        self.flushes.append(list(pieces))


def _token(number: int) -> CompletionChunk:
    info = TokenInfo(id=number, bytes=b"x", logprob=-1.0)
    return CompletionChunk(text=f"t{number} ", tokens=(number,), logprobs=(info,))


def test_tokens_that_come_fast_share_a_record() -> None:
    published, reader = _Published(), _Reader()
    box = published.outbox
    box.put(reader, _token(0), is_urgent=True)
    box.flush(1000 * MS, streams=1)
    for number in range(1, 4):
        box.put(reader, _token(number))
        box.flush((1000 + 26 * number) * MS, streams=1)
    assert [len(flush) for flush in published.flushes] == [1, 1]
    ((sink, piece),) = published.flushes[1]
    assert sink is reader
    assert isinstance(piece, CompletionChunk)
    assert (piece.text, piece.tokens) == ("t1 t2 t3 ", (1, 2, 3))
    assert [info.id for info in piece.logprobs] == [1, 2, 3]


@pytest.mark.parametrize(
    ("streams", "after_ms", "is_due"),
    [(1, 74, False), (1, 75, True), (2, 99, False), (2, 100, True), (8, 99, False), (8, 100, True)],
)
def test_the_pace_slows_with_the_streams_to_ten_a_second(
    streams: int, after_ms: int, is_due: bool
) -> None:
    published, reader = _Published(), _Reader()
    published.outbox.put(reader, _token(0), is_urgent=True)
    published.outbox.flush(1000 * MS, streams=streams)
    published.outbox.put(reader, _token(1))
    published.outbox.flush((1000 + after_ms) * MS, streams=streams)
    assert (len(published.flushes) == 2) is is_due


def test_the_last_piece_goes_at_once_with_what_waited_before_it() -> None:
    published, reader = _Published(), _Reader()
    box = published.outbox
    box.put(reader, _token(0))
    box.put(reader, CompletionChunk(done=True, stop_reason="stop", timings=TIMINGS))
    box.flush(1, streams=1)
    ((_, piece),) = published.flushes[0]
    assert isinstance(piece, CompletionChunk)
    assert (piece.text, piece.done, piece.stop_reason) == ("t0 ", True, "stop")
    assert piece.timings == TIMINGS


def test_an_error_goes_at_once_after_the_text_before_it() -> None:
    published, reader, error = _Published(), _Reader(), RunnerError("it broke")
    published.outbox.put(reader, _token(0))
    published.outbox.put(reader, error)
    published.outbox.flush(1, streams=3)
    outcomes = [outcome for _, outcome in published.flushes[0]]
    assert outcomes == [_token(0), error]


def test_progress_is_not_joined_to_text() -> None:
    published, reader = _Published(), _Reader()
    progress = CompletionChunk(prefill_completed=5, prefill_total=10)
    published.outbox.put(reader, progress)
    published.outbox.put(reader, _token(0))
    published.outbox.flush(1, streams=1)
    assert [outcome for _, outcome in published.flushes[0]] == [progress, _token(0)]


def test_streams_are_kept_apart() -> None:
    published, left, right = _Published(), _Reader(), _Reader()
    published.outbox.put(left, _token(0))
    published.outbox.put(right, _token(1))
    published.outbox.put(left, _token(2))
    published.outbox.flush(200 * MS, streams=2)
    texts = [
        (sink, outcome.text)
        for sink, outcome in published.flushes[0]
        if isinstance(outcome, CompletionChunk)
    ]
    assert texts == [(left, "t0 t2 "), (right, "t1 ")]


def test_nothing_is_held_back_when_no_stream_runs() -> None:
    published, reader = _Published(), _Reader()
    published.outbox.put(reader, _token(0))
    published.outbox.flush(1, streams=0)
    published.outbox.flush(2, streams=0)
    assert len(published.flushes) == 1
