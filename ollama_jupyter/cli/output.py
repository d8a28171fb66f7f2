"""Prints an answer as it arrives: thinking apart, words wrapped, nothing but text let through."""

import sys
from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec

from ollama_jupyter.cli.terminal import Inert, Wrap
from ollama_jupyter.client.conversation import Piece
from ollama_jupyter.quantities import SECOND_NS, format_duration

_GREY: Final = "\x1b[38;5;245m"
_PLAIN: Final = "\x1b[0m"


class AnswerPrinter:
    """Writes the pieces of one answer to standard output.

    Args:
        width: columns to wrap at; 0 wraps nothing.
        is_terminal: whether thinking may be grey.
        hides_thinking: whether thinking is left out.
    """

    def __init__(self, *, width: int, is_terminal: bool, hides_thinking: bool) -> None:
        self._inert = Inert()
        self._wrap = Wrap(width)
        self._is_terminal = is_terminal
        self._hides_thinking = hides_thinking
        self._is_thinking = False
        self._ended_line = True

    def feed(self, piece: Piece) -> None:
        """Write what a piece brings, at once."""
        if piece.thinking and not self._hides_thinking:
            if not self._is_thinking:
                self._is_thinking = True
                self._write(f"{self._grey()}Thinking...\n{self._plain()}")
            self._write(f"{self._grey()}{self._text(piece.thinking)}{self._plain()}")
        if piece.content or piece.tool_calls:
            self._end_thinking()
            self._write(self._text(piece.content))
        for call in piece.tool_calls:
            arguments = msgspec.json.encode(call.function.arguments).decode()
            self._write(
                self._text(
                    f"  Model called a non-existent function '{call.function.name}()' with"
                    f" arguments: {arguments}\n"
                )
            )

    def finish(self) -> None:
        """Close what is open; the answer has ended or was cut off."""
        self._end_thinking()

    def _end_thinking(self) -> None:
        if self._is_thinking:
            self._is_thinking = False
            newline = "" if self._ended_line else "\n"
            self._write(f"{self._grey()}{newline}...done thinking.\n\n{self._plain()}")

    def _text(self, text: str) -> str:
        clean = self._inert.feed(text)
        if clean:
            self._ended_line = clean.endswith("\n")
        return self._wrap.feed(clean)

    def _grey(self) -> str:
        return _GREY if self._is_terminal else ""

    def _plain(self) -> str:
        return _PLAIN if self._is_terminal else ""

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def print_timings(final: Mapping[str, Any]) -> None:
    """Write the figures of an answer to standard error; those that are zero are left out."""
    click.echo(render_timings(final), err=True, nl=False)


def render_timings(final: Mapping[str, Any]) -> str:
    """The figures of an answer's last record, one a line."""
    lines = [
        _duration("total duration", final.get("total_duration")),
        _duration("load duration", final.get("load_duration")),
    ]
    for name in ("prompt eval", "eval"):
        key = name.replace(" ", "_")
        count, spent_ns = int(final.get(f"{key}_count") or 0), final.get(f"{key}_duration")
        if count:
            lines.append(f"{name + ' count:':<22}{count} token(s)\n")
        lines.append(_duration(f"{name} duration", spent_ns))
        if count and spent_ns:
            rate = count / (int(spent_ns) / SECOND_NS)
            lines.append(f"{name + ' rate:':<22}{rate:.2f} tokens/s\n")
    return "".join(lines)


def _duration(name: str, ns: object) -> str:
    return f"{name + ':':<22}{format_duration(int(ns))}\n" if isinstance(ns, int) and ns else ""
