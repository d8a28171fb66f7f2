"""A Go template cut into tokens.

The rules are those of text/template: a minus beside a delimiter, with a space between it and the
rest of the action, trims the text on that side; a comment fills its action; every word, field and
variable must end at something that cannot belong to it.
"""

import re
from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

from ollama_jupyter.prompt.gotemplate.nodes import fail


class Kind(Enum):
    """What a token is."""

    TEXT = auto()
    OPEN = auto()
    CLOSE = auto()
    SPACE = auto()
    DECLARE = auto()
    ASSIGN = auto()
    PIPE = auto()
    LEFT = auto()
    RIGHT = auto()
    COMMA = auto()
    STRING = auto()
    RAW = auto()
    CHAR = auto()
    NUMBER = auto()
    FIELD = auto()
    DOT = auto()
    VARIABLE = auto()
    WORD = auto()
    KEYWORD = auto()
    END = auto()


class Token(NamedTuple):
    """A piece of the template; `position` is its offset in characters."""

    kind: Kind
    text: str
    position: int


_KEYWORDS: Final = frozenset(
    (
        *("if", "else", "end", "with", "nil"),
        *("range", "break", "continue"),
        *("template", "define", "block"),
    )
)
_SPACES: Final = " \t\r\n"
_OPENING_TRIMS: Final = frozenset("-" + space for space in _SPACES)
_NUMBER: Final = (
    r"[+-]?(?:0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+"
    r"|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?)(?!\w)"
)
_TOKEN: Final = re.compile(
    rf"""
      (?P<SPACE>[ \t\r\n]+)
    | (?P<DECLARE>:=)
    | (?P<ASSIGN>=)
    | (?P<PIPE>\|)
    | (?P<LEFT>\()
    | (?P<RIGHT>\))
    | (?P<COMMA>,)
    | (?P<STRING>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<RAW>`[^`]*`)
    | (?P<CHAR>'(?:[^'\\\n]|\\[^\n])*')
    | (?P<NUMBER>{_NUMBER})
    | (?P<FIELD>\.[^\W\d]\w*)
    | (?P<DOT>\.(?!\w))
    | (?P<VARIABLE>\$\w*)
    | (?P<WORD>[^\W\d]\w*)
    """,
    re.VERBOSE,
)
_NAMES: Final = frozenset((Kind.FIELD, Kind.DOT, Kind.VARIABLE, Kind.WORD))
_ENDS_NAME: Final = frozenset(_SPACES + ".,|:()")
_UNTERMINATED: Final = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
    ":": "expected :=",
}


def tokenize(source: str) -> Iterator[Token]:
    """The tokens of a template, ending with one END.

    Raises:
        InvalidTemplate: at the first character that no token can hold.
    """
    position = 0
    trims_left = False
    while True:
        opening = source.find("{{", position)
        text = source[position : opening if opening >= 0 else len(source)]
        if trims_left:
            text = text.lstrip(_SPACES)
        if opening < 0:
            if text:
                yield Token(Kind.TEXT, text, position)
            yield Token(Kind.END, "", len(source))
            return
        inside = opening + 2
        if source[inside : inside + 2] in _OPENING_TRIMS:
            text = text.rstrip(_SPACES)
            inside += 2
        if text:
            yield Token(Kind.TEXT, text, position)
        if source.startswith("/*", inside):
            position, trims_left = _skip_comment(source, inside)
        else:
            yield Token(Kind.OPEN, "{{", opening)
            position, trims_left = yield from _action(source, inside)


def _skip_comment(source: str, start: int) -> tuple[int, bool]:
    """The offset behind the comment's action, and whether that trims the text after it."""
    end = source.find("*/", start + 2)
    if end < 0:
        raise fail(source, start, "unclosed comment")
    closing = _closing(source, end + 2)
    if closing is None:
        raise fail(source, start, "comment ends before closing delimiter")
    return closing


def _closing(source: str, position: int) -> tuple[int, bool] | None:
    """What ends an action at `position`: the offset behind it, and whether it trims."""
    if source.startswith("}}", position):
        return position + 2, False
    if source.startswith("-}}", position + 1) and source[position] in _SPACES:
        return position + 4, True
    return None


def _action(source: str, position: int) -> Generator[Token, None, tuple[int, bool]]:
    """The tokens up to and with CLOSE; returns what `_closing` found."""
    depth = 0
    while (closing := _closing(source, position)) is None:
        match = _TOKEN.match(source, position)
        if match is None:
            raise fail(source, position, _complaint(source, position))
        kind, end = Kind[str(match.lastgroup)], match.end()
        if kind is Kind.SPACE and source.startswith("-}}", end):
            end -= 1  # the last space belongs to the trim marker
        elif kind is Kind.LEFT:
            depth += 1
        elif kind is Kind.RIGHT:
            depth -= 1
            if depth < 0:
                raise fail(source, position, "unexpected right paren")
        text = source[position:end]
        if kind in _NAMES:
            _check_terminator(source, end)
            if text in _KEYWORDS:
                kind = Kind.KEYWORD
        yield Token(kind, text, position)
        position = end
    if depth:
        raise fail(source, position, "unclosed left paren")
    yield Token(Kind.CLOSE, "}}", position)
    return closing


def _check_terminator(source: str, position: int) -> None:
    """Nothing but an operator, a space or the end may follow a name directly."""
    following = source[position : position + 1]
    if following and following not in _ENDS_NAME and not source.startswith("}}", position):
        raise fail(source, position, f"bad character {_character(following)}")


def _complaint(source: str, position: int) -> str:
    """Why no token starts here."""
    if position >= len(source):
        return "unclosed action"
    first = source[position]
    if first in _UNTERMINATED:
        return _UNTERMINATED[first]
    if first in "+-." or first.isdecimal():
        return f"bad number syntax: {source[position : position + 16].split()[0]!r}"
    return f"unrecognized character in action: {_character(first)}"


def _character(character: str) -> str:
    return f"U+{ord(character):04X} {character!r}"
