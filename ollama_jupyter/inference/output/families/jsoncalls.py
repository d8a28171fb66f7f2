"""Calls written as JSON objects."""

from collections.abc import Iterable, Sequence

import msgspec

from ollama_jupyter.api.types import JSON, Tool
from ollama_jupyter.inference.output.families.kinds import FoundCall


def read_json_calls(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """One call, or a list of them.

    Raises:
        ValueError: the text is no JSON, or no call.
    """
    del tools
    found = msgspec.json.decode(text.strip())
    return [_call(entry) for entry in (found if isinstance(found, list) else [found])]


def decode_arguments(text: str) -> dict[str, JSON]:
    """The arguments in a text; none in an empty one.

    Raises:
        ValueError: the text is no JSON object.
    """
    return msgspec.json.decode(text.strip() or "{}", type=dict[str, JSON])


def _call(found: JSON) -> FoundCall:
    """A call's name and arguments, under any of the keys that families use."""
    if not isinstance(found, dict):
        raise ValueError(f"no call: {found!r}")
    name = found.get("name") or found.get("tool_name")
    arguments = found.get("arguments", found.get("parameters"))
    if isinstance(arguments, str):
        arguments = decode_arguments(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict | None):
        raise ValueError(f"no call: {found!r}")
    return name, arguments or {}
