"""The JSON value a body holds, kept within bounds, by Go's idea of what a text is.

Python's scanner reads more than JSON (NaN), and less carefully than is needed here (depth, numbers
beyond a float, halves of surrogate pairs); what it lets through is checked afterwards.
"""

import json
import math
import re
from typing import Final, NoReturn

from ollama_jupyter.api.json_syntax import go_syntax_error
from ollama_jupyter.api.types import JSON
from ollama_jupyter.errors import BadRequest

MAX_DEPTH: Final = 64
"""Lists and objects inside one another, the outermost counted."""

_TOO_DEEP: Final = f"JSON is nested deeper than {MAX_DEPTH} levels"
_BLANKS: Final = " \t\r\n"
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def check_depth(value: object) -> None:
    """Refuse a decoded value that nests too deep.

    Raises:
        BadRequest: it does.
    """
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for entry in level:
            if isinstance(entry, dict):
                below += [child for child in entry.values() if isinstance(child, dict | list)]
            elif isinstance(entry, list):
                below += [child for child in entry if isinstance(child, dict | list)]
        if not below:
            return
        level = below
    raise BadRequest(_TOO_DEEP)


def without_surrogates(value: JSON) -> JSON:
    """A JSON value in which no text holds half of a surrogate pair; U+FFFD stands there."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(entry) for entry in value]
    if isinstance(value, dict):
        return {without_surrogates(k): without_surrogates(v) for k, v in value.items()}
    return value


def decode_json(body: bytes) -> JSON:
    """The first JSON value of a body, free of lone surrogates and of numbers beyond a float.

    Raises:
        BadRequest: the body is empty, no JSON, or nested too deep.
    """
    text = body.decode("utf-8", "replace").lstrip(_BLANKS)
    if not text:
        raise BadRequest("missing request body")
    try:
        value, _ = _DECODER.raw_decode(text)
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except ValueError:
        raise BadRequest(go_syntax_error(body)) from None
    check_depth(value)
    if _SURROGATE_ESCAPE.search(text):
        value = without_surrogates(value)
    return value


def _parse_int(text: str) -> int | float:
    # An int of thousands of digits takes long to make, and Go holds it as a float64 anyway.
    return int(text) if len(text) <= 20 else _parse_float(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise BadRequest(f"json: cannot unmarshal number {shown} into Go value of type float64")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)  # NaN and infinities are Python's idea of JSON


_DECODER: Final = json.JSONDecoder(
    parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse_constant
)
