"""JSON the way prompts hold it: Go's, with the parameters and arguments in the order written.

Only the outermost members of arguments, and the properties of a tool, keep their order. What is
nested inside a plain JSON value has its keys sorted, as Go's maps have.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from ollama_jupyter.api.types import JSON, Tool, ToolFunction, ToolParameters, ToolProperty
from ollama_jupyter.prompt.gotemplate import gojson
from ollama_jupyter.prompt.gotemplate.kinds import Record, Value

_STRING_OR_MARK: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[:,]')


def value_json(value: JSON) -> str:
    """Any JSON value, compact."""
    return gojson.encode(value)


def arguments_json(arguments: Mapping[str, JSON]) -> str:
    """The arguments of a call, compact."""
    return gojson.encode(_object(dict(arguments)))


def tool_json(tool: Tool) -> str:
    """A tool, compact."""
    items = {} if tool.items is None else {"items": tool.items}
    return gojson.encode(
        _object({"type": tool.type} | items | {"function": _function(tool.function)})
    )


def indented_tool_json(tool: Tool) -> str:
    """A tool over several lines, each level four spaces in."""
    return json.dumps(json.loads(tool_json(tool)), indent=4, ensure_ascii=False)


def parameters_json(parameters: ToolParameters) -> str:
    """What a tool takes, compact."""
    return gojson.encode(_parameters(parameters))


def property_members(each: ToolProperty) -> dict[str, str]:
    """The members of one parameter that are not empty: name to compact JSON, in Go's order."""
    return {name: gojson.encode(value) for name, value in _members(each).items()}


def spaced(text: str) -> str:
    """JSON with one space after each colon and comma that is not inside a string."""
    return _STRING_OR_MARK.sub(
        lambda found: f"{found[0]} " if found[0] in ":," else found[0],
        text,
    )


def text_or_json(value: JSON) -> str:
    """A text as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else value_json(value)


def _object(members: Mapping[str, Value]) -> Record:
    return Record("object", {}, dict(members))


def _function(function: ToolFunction) -> Record:
    return _object(
        {
            "name": function.name,
            "description": function.description,
            "parameters": _parameters(function.parameters),
        }
    )


def _parameters(parameters: ToolParameters) -> Record:
    members: dict[str, Value] = {"type": parameters.type}
    if parameters.defs is not None:
        members["$defs"] = parameters.defs
    if parameters.items is not None:
        members["items"] = parameters.items
    if parameters.required:
        members["required"] = parameters.required
    return _object(members | {"properties": _properties(parameters.properties or {})})


def _properties(properties: Mapping[str, ToolProperty]) -> Record:
    return _object({name: _object(_members(each)) for name, each in properties.items()})


def _members(each: ToolProperty) -> dict[str, Value]:
    names = (each.type,) if isinstance(each.type, str) else each.type
    members: dict[str, Value] = {
        "anyOf": tuple(_object(_members(choice)) for choice in each.any_of),
        "type": names[0] if len(names) == 1 else names,
        "items": each.items,
        "description": each.description,
        "enum": each.enum,
        "properties": _properties(each.properties) if each.properties else None,
        "required": each.required,
    }
    return {
        name: value
        for name, value in members.items()
        if value or (name == "items" and value is not None)
    }
