"""One turn of a conversation, drawn while it comes.

However the turn ends, the view is finished with what came and says why, and the conversation holds
that much. A question that got no answer at all is taken back, so that asking again does not say it
twice.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

from ollama_jupyter.client.conversation import Conversation, Piece
from ollama_jupyter.errors import OllamaError
from ollama_jupyter.notebook.display import AnswerView, Figures
from ollama_jupyter.notebook.failures import CellInterrupted
from ollama_jupyter.quantities import human_bytes

_WAITING: Final = {"queued": "waiting for its turn", "prefill": "reading"}


def stream_answer(
    conversation: Conversation,
    text: str,
    options: Mapping[str, Any],
    view: AnswerView,
    *,
    clock: Callable[[], float],
) -> None:
    """Ask, draw the answer as it comes, and finish the view.

    Args:
        conversation: gets the question and the answer.
        text: the question.
        options: the model's options for this turn only.
        view: is finished whenever some text came, and when the answer is complete.
        clock: monotonic seconds.

    Raises:
        OllamaError: the server refused, or broke off.
        CellInterrupted: the user interrupted the kernel.
    """
    conversation.settings.options = dict(options)
    conversation.settings.progress = True
    turn = _Turn(conversation.model, view, clock)
    with _taken_back_when_unanswered(conversation):
        try:
            with closing(_pieces(conversation, text)) as pieces:
                for piece in pieces:
                    turn.add(piece)
        except KeyboardInterrupt as interrupt:
            turn.finish_partial("interrupted")
            kept = "what had come is kept" if turn.has_text else "nothing had come yet"
            raise CellInterrupted(f"Interrupted; {kept}.") from interrupt
        except OllamaError:
            turn.finish_partial("broken off")
            raise


class _Turn:
    """The figures of a turn while it goes on, and their way to the view."""

    def __init__(self, model: str, view: AnswerView, clock: Callable[[], float]) -> None:
        self._model = model
        self._view = view
        self._clock = clock
        self._start = clock()
        self._first_text_seconds: float | None = None

    @property
    def has_text(self) -> bool:
        return self._first_text_seconds is not None

    def add(self, piece: Piece) -> None:
        if piece.status or piece.thinking:
            self._view.wait(f"{self._model} · {describe_wait(piece)} …")
        if piece.content:
            if self._first_text_seconds is None:
                self._first_text_seconds = self._clock() - self._start
            self._view.feed(piece.content)
        if piece.final is not None:
            self._view.finish(self._figures(piece.final))

    def finish_partial(self, reason: str) -> None:
        """Leave what came, and why it is no more; nothing when none came."""
        if self.has_text:
            self._view.finish(self._figures({"done_reason": reason}))

    def _figures(self, record: Mapping[str, Any]) -> Figures:
        return Figures(
            model=self._model,
            done_reason=str(record.get("done_reason") or ""),
            prompt_tokens=_count(record, "prompt_eval_count"),
            answer_tokens=_count(record, "eval_count"),
            answer_ns=_count(record, "eval_duration"),
            first_text_seconds=self._first_text_seconds,
        )


def _pieces(conversation: Conversation, text: str) -> Generator[Piece, None, None]:
    """The answer as a generator of our own, which an interrupt closes for certain."""
    yield from conversation.send(text)


@contextmanager
def _taken_back_when_unanswered(conversation: Conversation) -> Iterator[None]:
    count = len(conversation.messages)
    try:
        yield
    except (OllamaError, CellInterrupted):
        if len(conversation.messages) == count + 1:
            conversation.messages.pop()
        raise


def describe_wait(piece: Piece) -> str:
    """What goes on while there is no text yet, for a piece that has none."""
    if piece.thinking:
        return "thinking"
    if piece.status == "loading":
        return f"loading {human_bytes(piece.completed)} of {human_bytes(piece.total)}"
    word = _WAITING.get(piece.status, piece.status)
    return f"{word} {piece.completed} of {piece.total} tokens" if piece.total else word


def _count(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0
