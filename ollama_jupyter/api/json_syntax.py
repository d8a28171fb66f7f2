"""What is wrong with a JSON text, in the words of Go's encoding/json.

Used only for texts that Python's scanner refused, so it may walk byte by byte. The machine is
Go's: `_Syntax` reads one value and raises at the first byte that cannot stand where it does.
"""

import re
from typing import Final, NoReturn

_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789"
_HEX: Final = b"0123456789abcdefABCDEF"
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')


def go_syntax_error(body: bytes) -> str:
    """Go's message for the first value of a body that is no JSON."""
    try:
        _Syntax(body).value()
    except _Fault as fault:
        return str(fault)
    return "invalid JSON"


class _Fault(Exception):
    """The message for the first byte that does not belong."""


class _Syntax:
    """A cursor over one JSON text."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def value(self) -> None:
        """Read one value; containers are kept on a list, so depth costs no stack."""
        closers: list[bytes] = []
        while True:
            opened = self._begin_value()
            if opened and not self._is_closed_at_once(opened):
                closers.append(opened)
                continue
            while closers:
                if self._goes_on(closers[-1]):
                    break
                closers.pop()
            if not closers:
                return

    def _begin_value(self) -> bytes:
        """Read a scalar (b"" is given back) or what opens a container (its closer)."""
        first = self._next()
        if first in (b"{", b"["):
            return b"}" if first == b"{" else b"]"
        if first == b'"':
            self._string()
        elif first == b"-" or first in _DIGITS_SET:
            self._number(first)
        elif first in _LITERALS:
            self._literal(_LITERALS[first])
        else:
            self._fail(first, "looking for beginning of value")
        return b""

    def _is_closed_at_once(self, closer: bytes) -> bool:
        """Whether a container that was just opened is empty; else an object's first key is read.

        A container that is closed here counts as a value read.
        """
        byte = self._next()
        if byte == closer:
            return True
        self._at -= 1
        if closer == b"}":
            self._key()
        return False

    def _goes_on(self, closer: bytes) -> bool:
        """Whether a comma follows a member (and, in an object, the next key); False at its end."""
        byte = self._next()
        if byte == closer:
            return False
        if byte != b",":
            place = "after object key:value pair" if closer == b"}" else "after array element"
            self._fail(byte, place)
        if closer == b"}":
            self._key()
        return True

    def _key(self) -> None:
        byte = self._next()
        if byte != b'"':
            self._fail(byte, "looking for beginning of object key string")
        self._string()
        byte = self._next()
        if byte != b":":
            self._fail(byte, "after object key")

    def _string(self) -> None:
        while True:
            plain = _PLAIN.match(self._body, self._at)
            self._at = plain.end() if plain else self._at
            byte = self._take()
            if byte == b'"':
                return
            if byte != b"\\":
                self._fail(byte, "in string literal")
            escape = self._take()
            if escape == b"u":
                for _ in range(4):
                    digit = self._take()
                    if digit not in _HEX_SET:
                        self._fail(digit, "in \\u hexadecimal character escape")
            elif escape not in _ESCAPES:
                self._fail(escape, "in string escape code")

    def _number(self, first: bytes) -> None:
        if first == b"-":
            first = self._take()
            if first not in _DIGITS_SET:
                self._fail(first, "in numeric literal")
        if first != b"0":
            self._skip_digits()
        if self._peek() == b".":
            self._at += 1
            self._digit("after decimal point in numeric literal")
        if self._peek() in (b"e", b"E"):
            self._at += 1
            if self._peek() in (b"+", b"-"):
                self._at += 1
            self._digit("in exponent of numeric literal")

    def _digit(self, place: str) -> None:
        byte = self._take()
        if byte not in _DIGITS_SET:
            self._fail(byte, place)
        self._skip_digits()

    def _skip_digits(self) -> None:
        while self._peek() in _DIGITS_SET:
            self._at += 1

    def _literal(self, word: str) -> None:
        for expected in word[1:]:
            byte = self._take()
            if byte != expected.encode():
                self._fail(byte, f"in literal {word} (expecting '{expected}')")

    def _peek(self) -> bytes:
        return self._body[self._at : self._at + 1]

    def _take(self) -> bytes:
        byte = self._peek()
        if not byte:
            raise _Fault("unexpected EOF")
        self._at += 1
        return byte

    def _next(self) -> bytes:
        """The next byte that is no blank."""
        byte = self._take()
        while byte in _SPACE_SET:
            byte = self._take()
        return byte

    def _fail(self, byte: bytes, place: str) -> NoReturn:
        raise _Fault(f"invalid character {_quote(byte)} {place}")


def _set(characters: bytes) -> frozenset[bytes]:
    return frozenset(bytes([code]) for code in characters)


_SPACE_SET: Final = _set(_SPACE)
_DIGITS_SET: Final = _set(_DIGITS)
_HEX_SET: Final = _set(_HEX)
_ESCAPES: Final = _set(b'"\\/bfnrt')
_LITERALS: Final = {b"t": "true", b"f": "false", b"n": "null"}
_GO_ESCAPES: Final = {
    "'": "\\'",
    '"': '"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def _quote(byte: bytes) -> str:
    """A byte between quotes; Go takes it for the character of that number."""
    character = byte.decode("latin-1")
    shown = _GO_ESCAPES.get(character)
    if shown is None:
        shown = character if character.isprintable() else _numbered(ord(character))
    return f"'{shown}'"


def _numbered(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
