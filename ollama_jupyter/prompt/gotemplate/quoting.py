"""Text written so that it can stand inside quotes."""

from collections.abc import Callable
from typing import Final

_ESCAPES: Final[dict[str, str]] = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quoted(text: str) -> str:
    """A Go string literal (strconv.Quote)."""
    return f'"{escape(text, _ESCAPES.get, _go_escape)}"'


def escape(text: str, known: Callable[[str], str | None], unprintable: Callable[[int], str]) -> str:
    """Each character by its own escape, or by its number when it does not print."""
    return "".join(
        known(character) or (character if character.isprintable() else unprintable(ord(character)))
        for character in text
    )


def _go_escape(point: int) -> str:
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def quoted_rune(character: str) -> str:
    """A Go character literal (strconv.QuoteRune)."""
    if character == "'":
        return "'\\''"
    if character == '"':
        return "'\"'"
    return f"'{escape(character, _ESCAPES.get, _go_escape)}'"
