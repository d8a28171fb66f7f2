"""Values that models write almost, but not quite, as JSON or Python."""

import json
import re
from collections.abc import Callable
from typing import Final

from ollama_jupyter.api.types import JSON

_WORDS: Final[dict[str, JSON]] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
}
_BARE: Final = re.compile(r"[^,\]\[{}()]*")
_NAME: Final = re.compile(r"\s*([^\s,:=(){}\[\]]+)\s*")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ESCAPED: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_STRINGS: Final = {
    quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*+){quote}", re.DOTALL) for quote in "\"'"
}


class LiteralReader:
    """Reads values off a text, from left to right.

    Strings stand in quotes of either kind, with escapes, or between two `marker`s, without any.
    Words without quotes are numbers, truth values, null, or strings.
    """

    def __init__(self, text: str, *, marker: str = "", is_lenient: bool = False) -> None:
        """Start at the beginning of a text.

        Args:
            text: what to read.
            marker: the tag around strings; "" for none.
            is_lenient: whether the end of the text closes everything that is open.
        """
        self._text = text
        self._at = 0
        self._marker = marker
        self._is_lenient = is_lenient

    def takes(self, token: str) -> bool:
        """Go past white space, and past `token` if it comes next; whether it did."""
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1
        is_next = self._text.startswith(token, self._at)
        self._at += len(token) if is_next else 0
        return is_next

    def is_at_end(self) -> bool:
        """Whether nothing but white space is left."""
        return self.takes("") and self._at == len(self._text)

    def name(self) -> str:
        """A word, such as a function's or an argument's; "" when none comes next."""
        match = _NAME.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match[1] if match else ""

    def key(self) -> str:
        """An object's key, in quotes or not."""
        if self.takes("") and self._starts_string():
            return self._string()
        if found := self.name():
            return found
        raise ValueError(f"no key at {self._rest()}")

    def value(self) -> JSON:
        """The next value.

        Raises:
            ValueError: there is none, or it does not end.
        """
        self.takes("")
        if self._starts_string():
            return self._string()
        if self.takes("{"):
            return self.members("}", ":")
        if self.takes("["):
            return self._items("]")
        if self.takes("("):
            return self._items(")")
        return self._word()

    def members(self, closing: str, between: str) -> dict[str, JSON]:
        """Keys and values up to `closing`, with `between` between the two of a pair."""
        found: dict[str, JSON] = {}

        def read() -> None:
            key = self.key()
            if not self.takes(between):
                raise ValueError(f"no {between!r} at {self._rest()}")
            found[key] = self.value()

        self._until(closing, read)
        return found

    def _items(self, closing: str) -> list[JSON]:
        found: list[JSON] = []
        self._until(closing, lambda: found.append(self.value()))
        return found

    def _until(self, closing: str, read: Callable[[], None]) -> None:
        while not self.takes(closing):
            if self._is_lenient and self.is_at_end():
                return
            read()
            if not self.takes(",") and not self._is_before(closing):
                raise ValueError(f"neither ',' nor {closing!r} at {self._rest()}")

    def _is_before(self, closing: str) -> bool:
        is_next = self._text.startswith(closing, self._at)
        return is_next or (self._is_lenient and self.is_at_end())

    def _starts_string(self) -> bool:
        is_marked = bool(self._marker) and self._text.startswith(self._marker, self._at)
        return is_marked or self._text[self._at : self._at + 1] in tuple(_STRINGS)

    def _string(self) -> str:
        if self._marker and self.takes(self._marker):
            end = self._text.find(self._marker, self._at)
            if end < 0:
                return self._unclosed()
            found, self._at = self._text[self._at : end], end + len(self._marker)
            return found
        match = _STRINGS[self._text[self._at]].match(self._text, self._at)
        if match is None:
            raise ValueError(f"a string does not end: {self._rest()}")
        self._at = match.end()
        found = _ESCAPED.sub(_unescaped, match[1])
        # Letters beyond 16 bits are escaped as two halves, which only together are a letter.
        return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _unclosed(self) -> str:
        """The rest of the text as a string, without the brackets that close what is around it."""
        if not self._is_lenient:
            raise ValueError(f"a string does not end: {self._rest()}")
        found, self._at = self._text[self._at :].rstrip(" \n}]"), len(self._text)
        return found

    def _word(self) -> JSON:
        match = _BARE.match(self._text, self._at)
        word = match[0].strip() if match else ""
        if not word:
            raise ValueError(f"no value at {self._rest()}")
        self._at += len(match[0]) if match else 0
        return bare_value(word)

    def _rest(self) -> str:
        return repr(self._text[self._at : self._at + 20])


def bare_value(word: str) -> JSON:
    """What a word without quotes stands for."""
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    try:
        return json.loads(word, parse_constant=str)
    except ValueError:
        return word


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _ESCAPES.get(match[2], match[2])
