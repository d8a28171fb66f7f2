import io
from typing import Any

from ollama_jupyter.notebook.display import METADATA_KEY, CellView, Figures, TerminalView

DONE = Figures(
    model="m",
    done_reason="stop",
    prompt_tokens=9,
    answer_tokens=40,
    answer_ns=2_000_000_000,
    first_text_seconds=0.25,
)


class FakePublisher:
    """Keeps what was published; drawing takes as long as it is told."""

    def __init__(self, clock: "FakeClock", cost_seconds: float = 0.0) -> None:
        self.published: list[tuple[dict[str, str], dict[str, Any], str, bool]] = []
        self._clock = clock
        self._cost_seconds = cost_seconds

    def publish(
        self,
        data: dict[str, str],
        metadata: dict[str, Any],
        *,
        transient: dict[str, str],
        update: bool,
    ) -> None:
        self._clock.seconds += self._cost_seconds
        self.published.append((data, metadata, transient["display_id"], update))

    @property
    def texts(self) -> list[str]:
        return [data["text/plain"] for data, *_ in self.published]


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def view(
    *, cost_seconds: float = 0.0, is_streaming: bool = True
) -> tuple[CellView, FakePublisher, FakeClock]:
    clock = FakeClock()
    publisher = FakePublisher(clock, cost_seconds)
    return CellView(publisher, is_streaming=is_streaming, clock=clock), publisher, clock


def test_cell_view_publishes_once_and_then_updates_that_display() -> None:
    cell, publisher, clock = view()
    for piece in ("one ", "two ", "three"):
        cell.feed(piece)
        clock.seconds += 1
    cell.finish(DONE)
    assert [update for *_, update in publisher.published] == [False, True, True, True]
    assert len({display_id for _, _, display_id, _ in publisher.published}) == 1
    assert publisher.texts == ["one ", "one two ", "one two three", "one two three"]


def test_cell_view_updates_at_most_twenty_times_a_second() -> None:
    cell, publisher, clock = view()
    for _ in range(1000):
        cell.feed("x")
        clock.seconds += 0.001
    cell.finish(DONE)
    assert 10 <= len(publisher.published) <= 20
    assert publisher.texts[-1] == "x" * 1000


def test_cell_view_spends_at_most_a_quarter_of_the_time_when_drawing_is_slow() -> None:
    cell, publisher, clock = view(cost_seconds=0.5)
    start = clock.seconds
    while clock.seconds < start + 20:
        cell.feed("x")
        clock.seconds += 0.01
    assert len(publisher.published) * 0.5 <= 20 / 4


def test_cell_view_draws_once_when_streaming_is_off() -> None:
    cell, publisher, clock = view(is_streaming=False)
    cell.wait("loading")
    cell.feed("a")
    clock.seconds += 9
    cell.feed("b")
    assert not publisher.published
    cell.finish(DONE)
    assert publisher.texts == ["ab"]


def test_streamed_and_unstreamed_answers_end_alike() -> None:
    ends = []
    for is_streaming in (True, False):
        cell, publisher, _ = view(is_streaming=is_streaming)
        cell.feed("**a**")
        cell.finish(DONE)
        ends.append(publisher.published[-1][:2])
    assert ends[0] == ends[1]


def test_cell_view_shows_status_only_before_the_first_text() -> None:
    cell, publisher, clock = view()
    cell.wait("loading <b>")
    clock.seconds += 1
    cell.feed("text")
    clock.seconds += 1
    cell.wait("late")
    shown = [data["text/html"] for data, *_ in publisher.published]
    assert shown == ["<small>loading &lt;b&gt;</small>", "<p>text</p>\n"]


def test_finished_answer_carries_figures_and_is_inert() -> None:
    cell, publisher, _ = view()
    cell.feed("<script>\x1b[1mx</script>")
    cell.finish(DONE)
    data, metadata, _, _ = publisher.published[-1]
    assert data["text/plain"] == "<script>x</script>"
    assert "<script>" not in data["text/html"]
    assert "m · 40 tokens · 20 tok/s · first after 0.2 s" in data["text/html"]
    assert metadata == {
        METADATA_KEY: {
            "model": "m",
            "done_reason": "stop",
            "prompt_eval_count": 9,
            "eval_count": 40,
            "eval_duration": 2_000_000_000,
        }
    }


def test_saved_output_stays_near_the_size_of_the_text() -> None:
    sentence = "A plain sentence of the usual length, as most of an answer is. "
    text = (sentence * 4 + "One with **strong** words and `code`.\n\n") * 20
    cell, publisher, _ = view(is_streaming=False)
    cell.feed(text)
    cell.finish(DONE)
    data, _, _, _ = publisher.published[-1]
    assert sum(map(len, data.values())) <= 2.2 * len(text)


def test_figures_say_why_an_answer_is_partial_and_leave_out_what_is_unknown() -> None:
    assert Figures(model="m", done_reason="interrupted").line == "m · interrupted"
    assert "length limit" in Figures(model="m", done_reason="length").line
    assert Figures(model="m", done_reason="stop").tokens_per_second == 0


def test_terminal_view_prints_pieces_as_they_come_without_sequences() -> None:
    stream = io.StringIO()
    terminal = TerminalView(stream)
    terminal.wait("loading")
    terminal.feed("a\x1b[3")
    assert stream.getvalue() == "a"
    terminal.feed("1mb")
    terminal.finish(DONE)
    assert stream.getvalue().startswith("ab\n\nm · 40 tokens")
