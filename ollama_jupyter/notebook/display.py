"""An answer while it comes: one display in a notebook, or plain text in a terminal.

The display holds HTML (inert, see `inert`) beside the plain text, and figures in its metadata under
"ollama_jupyter". It is published once and then updated in place, so a saved notebook holds a single
output. Updates come at most 20 times a second, and farther apart when drawing a long answer takes
long, so that a kernel never spends more than a quarter of its time on drawing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Protocol, TextIO
from uuid import uuid4

from ollama_jupyter.notebook.inert import PlainStream, markdown_to_html, plain
from ollama_jupyter.quantities import SECOND_NS

MIN_INTERVAL_SECONDS: Final = 0.06
_COST_FACTOR: Final = 4
METADATA_KEY: Final = "ollama_jupyter"


class Publisher(Protocol):
    """The part of IPython's display publisher that is used here."""

    def publish(
        self,
        data: dict[str, str],
        metadata: dict[str, Any],
        *,
        transient: dict[str, str],
        update: bool,
    ) -> None:
        """Show a MIME bundle, or replace the one shown under the same display id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known about a finished answer.

    Attributes:
        model: the model's name.
        done_reason: why it ended: stop, length, or "interrupted" or "error" for a partial one.
        prompt_tokens: tokens of the conversation so far; 0 when the server did not say.
        answer_tokens: tokens generated; 0 when the server did not say.
        answer_ns: nanoseconds spent on generating them.
        first_text_seconds: from the request to the first text; None when none came.
    """

    model: str
    done_reason: str
    prompt_tokens: int = 0
    answer_tokens: int = 0
    answer_ns: int = 0
    first_text_seconds: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated a second; 0 when unknown."""
        return self.answer_tokens * SECOND_NS / self.answer_ns if self.answer_ns else 0.0

    @property
    def line(self) -> str:
        """The figures as the muted line under an answer."""
        parts = [self.model]
        if self.done_reason not in ("stop", ""):
            parts.append(
                {"length": "cut at the length limit"}.get(self.done_reason, self.done_reason)
            )
        if self.answer_tokens:
            parts.append(f"{self.answer_tokens} tokens")
        if self.answer_ns:
            parts.append(f"{self.tokens_per_second:.0f} tok/s")
        if self.first_text_seconds is not None:
            parts.append(f"first after {self.first_text_seconds:.1f} s")
        return " · ".join(parts)

    @property
    def metadata(self) -> dict[str, Any]:
        """The figures as they are saved with the output."""
        return {
            "model": self.model,
            "done_reason": self.done_reason,
            "prompt_eval_count": self.prompt_tokens,
            "eval_count": self.answer_tokens,
            "eval_duration": self.answer_ns,
        }


class AnswerView(Protocol):
    """Where an answer is drawn while it comes."""

    def wait(self, status: str) -> None:
        """Say what is going on before the first text."""

    def feed(self, piece: str) -> None:
        """Add a piece of the answer."""

    def finish(self, figures: Figures) -> None:
        """Draw the whole answer, once and for the last time."""

    def close(self) -> None:
        """Take away a status that no answer followed."""


class CellView:
    """Draws into one display of a notebook cell."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        is_streaming: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draw nothing yet.

        Args:
            publisher: the shell's.
            is_streaming: False draws the answer once, when it is complete.
            clock: monotonic seconds.
        """
        self._publisher = publisher
        self._is_streaming = is_streaming
        self._clock = clock
        self._display_id = uuid4().hex
        self._is_shown = False
        self._is_status = False
        self._pieces: list[str] = []
        self._next_seconds = 0.0

    def wait(self, status: str) -> None:
        """Show the status in place of the answer, as often as an answer would be redrawn."""
        if self._is_streaming and not self._pieces:
            self._is_status = True
            self._draw_when_due(
                lambda: self._publish(f"<small>{escape(plain(status))}</small>", "")
            )

    def feed(self, piece: str) -> None:
        """Add a piece and redraw if the last drawing is long enough ago."""
        self._pieces.append(piece)
        if self._is_streaming:
            self._draw_when_due(self._draw)

    def finish(self, figures: Figures) -> None:
        """Draw all of it with the figures below."""
        text = plain("".join(self._pieces))
        footer = f"<small>{escape(plain(figures.line))}</small>"
        self._publish(markdown_to_html(text) + footer, text, {METADATA_KEY: figures.metadata})
        self._is_status = False

    def close(self) -> None:
        """Blank the display if all it shows is a status."""
        if self._is_shown and self._is_status and not self._pieces:
            self._publish("", "")

    def _draw_when_due(self, draw: Callable[[], None]) -> None:
        start = self._clock()
        if start < self._next_seconds:
            return
        draw()
        end = self._clock()
        self._next_seconds = end + max(MIN_INTERVAL_SECONDS, _COST_FACTOR * (end - start))

    def _draw(self) -> None:
        text = plain("".join(self._pieces))
        self._publish(markdown_to_html(text), text)

    def _publish(self, html: str, text: str, metadata: dict[str, Any] | None = None) -> None:
        self._publisher.publish(
            {"text/html": html, "text/plain": text},
            metadata or {},
            transient={"display_id": self._display_id},
            update=self._is_shown,
        )
        self._is_shown = True


class TerminalView:
    """Prints the pieces as they come, where there is nothing but a terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Write to a text stream, which stays open."""
        self._stream = stream
        self._plain = PlainStream()

    def wait(self, status: str) -> None:
        """Say nothing: what is printed stays."""

    def feed(self, piece: str) -> None:
        """Print what of the piece can be shown."""
        self._stream.write(self._plain.feed(piece))
        self._stream.flush()

    def finish(self, figures: Figures) -> None:
        """End the line and print the figures."""
        self._stream.write(f"{self._plain.finish()}\n\n{plain(figures.line)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to take away."""
