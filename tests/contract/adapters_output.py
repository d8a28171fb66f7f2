"""The built-in parsers and gpt-oss's message format, for the shared cases."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ollama_jupyter.api.types import Message, Tool
from ollama_jupyter.inference.output.families import BuiltinParser, parser_named
from ollama_jupyter.inference.output.harmony import (
    FunctionNames,
    HarmonyStream,
    identifier_for,
    parse_header,
)


def _events_per_chunk(given: Mapping[str, Any]) -> list[list[Any]]:
    stream = HarmonyStream()
    begun = stream.feed("<|start|>assistant") if given["implicit_start"] else []
    first, *others = [stream.feed(chunk) for chunk in given["chunks"]]
    return [[msgspec.to_builtins(e) for e in events] for events in ([*begun, *first], *others)]


def _events(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"events": [event for events in _events_per_chunk(given) for event in events]}


def _header(text: str) -> dict[str, Any]:
    return {k: v for k, v in msgspec.to_builtins(parse_header(text)).items() if k != "type"}


def _names(names: list[str]) -> dict[str, Any]:
    taken = FunctionNames()
    return {"names": [taken.add(name) for name in names]}


def _begun(given: Mapping[str, Any]) -> BuiltinParser:
    if (parser := parser_named(given["parser"])) is None:
        raise ValueError(f"no parser is called {given['parser']!r}")
    tools = msgspec.convert(given["tools"] or [], list[Tool])
    parser.init(tools, msgspec.convert(given["last_message"], Message | None), given["think"])
    return parser


def _parse(given: Mapping[str, Any]) -> dict[str, Any]:
    parser, last = _begun(given), len(given["chunks"]) - 1
    parsed = [parser.add(chunk, at == last) for at, chunk in enumerate(given["chunks"])]
    calls = [call.function for _, _, found in parsed for call in found]
    return {
        "content": "".join(content for content, _, _ in parsed),
        "thinking": "".join(thinking for _, thinking, _ in parsed),
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in calls],
    }


ADAPTERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("harmony", "header"): _header,
    ("harmony", "events"): _events,
    ("harmony", "stream"): lambda given: {"events_per_chunk": _events_per_chunk(given)},
    ("harmony", "function-name"): lambda name: {"name": identifier_for(name)},
    ("harmony", "function-names"): _names,
    ("builtin-parsers", "parse"): _parse,
}
