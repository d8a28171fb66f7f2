"""Constants of a template: Go's numbers, characters and strings."""

import re
from typing import Final

_INT64_LIMIT: Final = 1 << 63
_SIMPLE: Final = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
    '"': b'"',
    "'": b"'",
}
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\\"'])|([0-7]{3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8}))"
)
_OCTAL: Final = re.compile(r"([+-]?)0([0-7_]+)")


def number(literal: str) -> int | float:
    """An integer, or a float when it is written with a point or an exponent.

    Raises:
        ValueError: it is badly written, or does not fit into 64 bits.
    """
    try:
        if octal := _OCTAL.fullmatch(literal):
            value = int(octal[1] + octal[2], 8)
        elif not literal.lstrip("+-").lower().startswith("0x") and re.search("[.eE]", literal):
            return float(literal)
        else:
            value = int(literal, 0)
    except ValueError:
        raise ValueError(f"bad number syntax: {literal[:32]!r}") from None
    if not -_INT64_LIMIT <= value < _INT64_LIMIT:
        raise ValueError(f"{literal[:32]} overflows int")
    return value


def character(literal: str) -> int:
    """The code point of a quoted character.

    Raises:
        ValueError: the quotes hold no single character.
    """
    value = _unescape(literal[1:-1], other_quote='"')
    if len(value) != 1:
        raise ValueError(f"malformed character constant: {literal[:32]}")
    return ord(value)


def text(literal: str) -> str:
    """The text of a quoted or raw string.

    Raises:
        ValueError: an escape is none of Go's.
    """
    body = literal[1:-1]
    if literal[0] == "`":
        return body.replace("\r", "")
    return _unescape(body, other_quote="'")


def _unescape(body: str, *, other_quote: str) -> str:
    """Byte escapes are joined before they are decoded: two of them can be one letter."""
    parts: list[bytes] = []
    end = 0
    while (start := body.find("\\", end)) >= 0:
        parts.append(body[end:start].encode("utf-8", "replace"))
        match = _ESCAPE.match(body, start)
        if match is None or match[1] == other_quote:
            raise ValueError(f"invalid syntax in {body[:32]!r}")
        parts.append(_escaped(match))
        end = match.end()
    parts.append(body[end:].encode("utf-8", "replace"))
    return b"".join(parts).decode("utf-8", "replace")


def _escaped(match: re.Match[str]) -> bytes:
    if match[1]:
        return _SIMPLE[match[1]]
    if match[2] or match[3]:
        value = int(match[2], 8) if match[2] else int(match[3], 16)
        if value > 0xFF:
            raise ValueError(f"invalid syntax in {match[0]!r}")
        return bytes((value,))
    point = int(match[4] or match[5], 16)
    if point > 0x10FFFF or 0xD800 <= point < 0xE000:
        raise ValueError(f"invalid syntax in {match[0]!r}")
    return chr(point).encode()
