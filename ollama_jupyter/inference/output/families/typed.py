"""Arguments that a model writes as plain text, typed by the schema of their tool."""

from collections.abc import Callable, Sequence
from types import UnionType
from typing import Final

import msgspec

from ollama_jupyter.api.types import JSON, Tool, ToolProperty


def typed_value(text: str, name: str, parameter: str, tools: Sequence[Tool]) -> JSON:
    """The value of a parameter of the tool `name`, the text itself where nothing else fits.

    Whatever the schema says, "null" is null.
    """
    if text.lower() == "null":
        return None
    types = _types(name, parameter, tools)
    for kind, read in _READERS.items():
        if kind in types and (value := read(text)) is not None:
            return value
    return False if types == {"boolean"} else text


def _types(name: str, parameter: str, tools: Sequence[Tool]) -> set[str]:
    for tool in tools:
        properties = tool.function.parameters.properties or {}
        if tool.function.name == name and parameter in properties:
            return set(_types_of(properties[parameter]))
    return set()


def _types_of(schema: ToolProperty) -> list[str]:
    own = [schema.type] if isinstance(schema.type, str) else [*schema.type]
    return [*filter(None, own), *(kind for other in schema.any_of for kind in _types_of(other))]


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.strip().lower())


def _decoder(kind: type | UnionType) -> Callable[[str], JSON]:
    """Reads JSON of one type, None when it is none."""

    def read(text: str) -> JSON:
        try:
            return msgspec.json.decode(text.strip(), type=kind)
        except (ValueError, RecursionError):
            return None

    return read


# In the order in which they are tried.
_READERS: Final[dict[str, Callable[[str], JSON]]] = {
    "boolean": _boolean,
    "integer": _decoder(int),
    "number": _decoder(int | float),
    "array": _decoder(list),
    "object": _decoder(dict),
}
