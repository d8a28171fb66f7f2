"""The functions a template may call: Go's own, and the four that Ollama adds.

Each takes its evaluated arguments and gives a value or raises ExecutionError. `and` and `or` are
not here: the evaluator runs them, because they leave out what they need not evaluate.
"""

import datetime
import html
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias
from urllib.parse import quote_plus

from ollama_jupyter.prompt.gotemplate import gojson
from ollama_jupyter.prompt.gotemplate.compare import COMPARISONS
from ollama_jupyter.prompt.gotemplate.formats import sprintf
from ollama_jupyter.prompt.gotemplate.kinds import (
    ExecutionError,
    Record,
    Value,
    is_true,
    type_name,
)
from ollama_jupyter.prompt.gotemplate.printing import sprint, sprintln
from ollama_jupyter.prompt.gotemplate.quoting import escape

Function: TypeAlias = Callable[[Sequence[Value]], Value]

SHORT_CIRCUIT: Final = frozenset(("and", "or"))
"""Functions the evaluator runs itself."""


# --- containers -----------------------------------------------------------------------------


def _len(args: Sequence[Value]) -> int:
    """Elements; for a string, its UTF-8 bytes."""
    (value,) = args
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, bytes | tuple | list | dict):
        return len(value)
    raise ExecutionError(f"error calling len: len of type {type_name(value)}")


def _index(args: Sequence[Value]) -> Value:
    """`index x 1 "k"` is x[1]["k"]; a map without the key gives nothing."""
    value, *indexes = args
    if value is None:
        raise ExecutionError("error calling index: index of untyped nil")
    for index in indexes:
        value = _element(value, index)
    return value


def _element(value: Value, index: Value) -> Value:
    if isinstance(value, dict):
        if not isinstance(index, str):
            raise ExecutionError(
                f"error calling index: value has type {type_name(index)}; should be string"
            )
        return value.get(index)
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    if not isinstance(value, bytes | tuple | list):
        raise ExecutionError(f"error calling index: can't index item of type {type_name(value)}")
    position = _position(index, len(value), "index")
    if position == len(value):
        raise ExecutionError(f"error calling index: index out of range: {position}")
    element: Value = value[position]
    return element


def _position(index: Value, limit: int, function: str) -> int:
    """An index from 0 to `limit`, both included."""
    if not isinstance(index, int) or isinstance(index, bool):
        raise ExecutionError(
            f"error calling {function}: cannot index slice/array with type {type_name(index)}"
        )
    if not 0 <= index <= limit:
        raise ExecutionError(f"error calling {function}: index out of range: {index}")
    return index


def _slice(args: Sequence[Value]) -> Value:
    """`slice x 1 2` is x[1:2]; a third index only limits a capacity nobody here can see."""
    value, *indexes = args
    if value is None:
        raise ExecutionError("error calling slice: slice of untyped nil")
    if len(indexes) > 3:
        raise ExecutionError(f"error calling slice: too many slice indexes: {len(indexes)}")
    is_text = isinstance(value, str)
    if is_text and len(indexes) == 3:
        raise ExecutionError("error calling slice: cannot 3-index slice a string")
    items = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if not isinstance(items, bytes | tuple | list):
        raise ExecutionError(f"error calling slice: can't slice item of type {type_name(value)}")
    places = [_position(index, len(items), "slice") for index in indexes]
    for low, high in pairwise(places):
        if low > high:
            raise ExecutionError(f"error calling slice: invalid slice index: {low} > {high}")
    start = places[0] if places else 0
    part = items[start : places[1] if len(places) > 1 else len(items)]
    return part.decode("utf-8", "replace") if is_text and isinstance(part, bytes) else part


# --- text -----------------------------------------------------------------------------------


def _printf(args: Sequence[Value]) -> str:
    form, *values = args
    if not isinstance(form, str):
        raise ExecutionError(f"wrong type for value; expected string; got {type_name(form)}")
    return sprintf(form, values)


def _text(args: Sequence[Value]) -> str:
    """Arguments as an action prints them."""
    return sprint(["<no value>" if arg is None else arg for arg in args])


def _html(args: Sequence[Value]) -> str:
    return html.escape(_text(args)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _js(args: Sequence[Value]) -> str:
    return escape(_text(args), _JS.get, lambda point: f"\\u{point:04X}")


_JS: Final[dict[str, str]] = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


def _urlquery(args: Sequence[Value]) -> str:
    return quote_plus(_text(args), errors="replace")


def _call(args: Sequence[Value]) -> Value:
    """No value here is a function, so that this always fails."""
    raise ExecutionError(f"error calling call: non-function of type {type_name(args[0])}")


# --- Ollama's -------------------------------------------------------------------------------


def _today(_: Sequence[Value]) -> str:
    return datetime.date.today().isoformat()


def _yesterday(_: Sequence[Value]) -> str:
    return (datetime.date.today() - datetime.timedelta(days=1)).isoformat()


_TYPESCRIPT: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def typescript_type(value: Value) -> str:
    """What a tool's parameter is in TypeScript; `any` for everything else."""
    if not isinstance(value, Record):
        return "any"
    alternatives = value.fields.get("AnyOf")
    if isinstance(alternatives, tuple) and alternatives:
        return " | ".join(typescript_type(each) for each in alternatives)
    names = value.fields.get("Type")
    if not isinstance(names, tuple) or not names:
        return "any"
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names)


# --- the table ------------------------------------------------------------------------------

_ANY: Final = 1 << 30


def _entry(function: Function, least: int, most: int) -> tuple[Function, int, int]:
    return function, least, most


FUNCTIONS: Final[Mapping[str, tuple[Function, int, int]]] = {
    "call": _entry(_call, 1, _ANY),
    "html": _entry(_html, 0, _ANY),
    "index": _entry(_index, 1, _ANY),
    "js": _entry(_js, 0, _ANY),
    "len": _entry(_len, 1, 1),
    "not": _entry(lambda args: not is_true(args[0]), 1, 1),
    "print": _entry(sprint, 0, _ANY),
    "printf": _entry(_printf, 1, _ANY),
    "println": _entry(sprintln, 0, _ANY),
    "slice": _entry(_slice, 1, _ANY),
    "urlquery": _entry(_urlquery, 0, _ANY),
    **{name: _entry(function, 1, most) for name, (function, most) in COMPARISONS.items()},
}
"""Go's own functions: what runs them, and how many arguments they take, least and most."""

ADDED: Final[Mapping[str, tuple[Function, int, int]]] = {
    "json": _entry(lambda args: gojson.encode(args[0]), 1, 1),
    "currentDate": _entry(_today, 0, _ANY),
    "yesterdayDate": _entry(_yesterday, 0, _ANY),
    "toTypeScriptType": _entry(lambda args: typescript_type(args[0]), 1, 1),
}
"""Ollama's functions, in the same form."""
