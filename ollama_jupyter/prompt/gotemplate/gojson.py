"""JSON text as Go's encoder writes it: compact, map keys sorted, safe inside HTML."""

import base64
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from ollama_jupyter.prompt.gotemplate.kinds import ExecutionError, Record, Value

_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n"} | {
    "\r": "\\r",
    "\t": "\\t",
}
_SPECIAL: Final = re.compile('[\\x00-\\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')


def encode(value: Value) -> str:
    """The JSON text of a template value.

    Raises:
        ExecutionError: a number that JSON cannot express.
    """
    return "".join(_pieces(value))


def _pieces(value: Value) -> Iterator[str]:
    if value is None:
        yield "null"
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, float):
        yield _float(value)
    elif isinstance(value, str):
        yield quote(value)
    elif isinstance(value, bytes):
        yield f'"{base64.b64encode(value).decode()}"'
    elif isinstance(value, tuple | list):
        yield from _list(value)
    elif isinstance(value, Record):
        yield from _object(value.members.items())
    elif isinstance(value, dict):
        yield from _object(sorted(value.items()))
    else:
        raise ExecutionError(f"json: unsupported type: {type(value).__name__}")


def _list(items: Iterable[Value]) -> Iterator[str]:
    separator = "["
    for item in items:
        yield separator
        yield from _pieces(item)
        separator = ","
    yield "[]" if separator == "[" else "]"


def _object(items: Iterable[tuple[str, Value]]) -> Iterator[str]:
    separator = "{"
    for key, item in items:
        yield f"{separator}{quote(key)}:"
        yield from _pieces(item)
        separator = ","
    yield "{}" if separator == "{" else "}"


def quote(text: str) -> str:
    """A JSON string; half a surrogate pair becomes U+FFFD."""
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\ud800" <= character <= "\udfff":
        return "\\ufffd"
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def _float(value: float) -> str:
    """ES6 notation: an exponent below 1e-6 and from 1e21 on, without leading zeros."""
    if not math.isfinite(value):
        raise ExecutionError(f"json: unsupported value: {value}")
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    mantissa, exponent = repr(value).split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+03d}".replace("e-0", "e-")
