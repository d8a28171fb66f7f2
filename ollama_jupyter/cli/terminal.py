"""Makes foreign text safe to print, and wraps it at words; pure and incremental.

A model may answer with escape sequences: they could retitle the terminal, write to its clipboard,
hide text or forge links. Nothing but text, newlines and tabs passes `Inert`.
"""

from typing import Final

# Sequences with a text of their own end at BEL or ST; others at their last letter.
_TEXT_STARTS: Final = frozenset("]P_^X")
_TEXT_C1: Final = frozenset("\x9d\x90\x9f\x9e\x98")
_CSI_C1: Final = "\x9b"
# What turns or hides the direction of text: it could make a command read as another.
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Inert:
    """Strips control characters and escape sequences, also when they come in pieces."""

    def __init__(self) -> None:
        self._state = "text"

    def feed(self, text: str) -> str:
        """The part of the next piece that is text."""
        return "".join(character for character in text if self._passes(character))

    def _passes(self, character: str) -> bool:
        state = self._state
        if state == "text":
            return self._passes_as_text(character)
        if state == "escape":
            return self._passes_after_escape(character)
        if state == "csi":
            if "@" <= character <= "~":
                self._state = "text"
            elif not " " <= character <= "?":
                return self._abandon(character)
        elif character in "\x07\x9c":
            self._state = "text"
        elif character == "\x1b":
            self._state = "escape"
        elif character == "\n":
            # No terminal sequence holds a newline; an unfinished one must not eat the rest.
            return self._abandon(character)
        return False

    def _passes_after_escape(self, character: str) -> bool:
        if character < " ":
            return self._abandon(character)
        if character == "[":
            self._state = "csi"
        elif character in _TEXT_STARTS:
            self._state = "string"
        elif character > "/":
            self._state = "text"
        return False

    def _abandon(self, character: str) -> bool:
        self._state = "text"
        return self._passes_as_text(character)

    def _passes_as_text(self, character: str) -> bool:
        if character == "\x1b":
            self._state = "escape"
        elif character == _CSI_C1:
            self._state = "csi"
        elif character in _TEXT_C1:
            self._state = "string"
        else:
            return character in "\n\t" or not (
                character < " " or "\x7f" <= character <= "\x9f" or character in _DIRECTIONS
            )
        return False


def inert(text: str) -> str:
    """A whole text without control characters and escape sequences."""
    return Inert().feed(text)


class Wrap:
    """Moves a word that does not fit to the next line, in a terminal that shows text at once.

    Args:
        width: columns of the terminal; below 10, and for 0, nothing is wrapped.
    """

    def __init__(self, width: int) -> None:
        self._limit = width - 5 if width >= 10 else 0
        self._longest_word = width - 10
        self._column = 0
        self._word = ""
        self._word_columns = 0

    def feed(self, text: str) -> str:
        """What to write for the next piece; may begin by taking back part of a word."""
        if not self._limit:
            return text
        return "".join(self._place(character) for character in text)

    def _place(self, character: str) -> str:
        columns = character_columns(character)
        if character == "\n":
            self._column, self._word, self._word_columns = 0, "", 0
            return character
        if self._column + columns > self._limit:
            return self._break_before(character, columns)
        self._column += columns
        self._grow(character, columns)
        return character

    def _break_before(self, character: str, columns: int) -> str:
        if character == " ":
            self._column, self._word, self._word_columns = 0, "", 0
            return "\n"
        word, word_columns = self._word, self._word_columns
        if not word or word_columns > self._longest_word:
            self._column, self._word, self._word_columns = columns, character, columns
            return f"\n{character}"
        self._column = word_columns + columns
        self._grow(character, columns)
        # Back over the part of the word that was shown, clear it, and show it again below.
        return f"\x1b[{word_columns}D\x1b[K\n{word}{character}"

    def _grow(self, character: str, columns: int) -> None:
        if character in " \t":
            self._word, self._word_columns = "", 0
        else:
            self._word += character
            self._word_columns += columns


def character_columns(character: str) -> int:
    """Columns a character takes in a terminal: 0, 1 or 2."""
    if character < "\u0300":
        return 1
    from rich.cells import cell_len

    return cell_len(character)
