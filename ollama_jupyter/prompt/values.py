"""Messages and tools in the form a template sees them.

Each becomes a Record with the reference's Go field names. Whole numbers inside arguments become
floats, as they are in Go (so that 1000000 prints as 1e+06), unless a float could not hold them.
"""

from collections.abc import Iterable, Mapping

from ollama_jupyter.api.types import (
    JSON,
    Message,
    Think,
    Tool,
    ToolCall,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)
from ollama_jupyter.prompt.gotemplate import gojson
from ollama_jupyter.prompt.gotemplate.kinds import Printed, Record, Value

_EXACT_IN_FLOAT = 1 << 53


class JSONRecord(Record, Printed):
    """A record that prints as its JSON."""

    def text(self) -> str:
        """Its JSON, members in order."""
        return gojson.encode(self)


class JSONMap(dict[str, Value], Printed):
    """A map that prints as its JSON, keys sorted."""

    def text(self) -> str:
        """Its JSON; `{}` when empty."""
        return gojson.encode(self)


class JSONList(tuple[Value, ...], Printed):
    """A list that prints as its JSON; an empty one is Go's nil list, `null`."""

    def text(self) -> str:
        """Its JSON."""
        return gojson.encode(self) if self else "null"


class TypeNames(tuple[str, ...], Printed):
    """The type of a parameter: one name prints bare, several as a list."""

    def text(self) -> str:
        """`string`, or `[string null]`."""
        return self[0] if len(self) == 1 else f"[{' '.join(self)}]"


def message_values(messages: Iterable[Message]) -> tuple[Record, ...]:
    """`.Messages` of a template."""
    return tuple(_message(message) for message in messages)


def tool_values(tools: Iterable[Tool]) -> JSONList:
    """`.Tools` of a template."""
    return JSONList(_tool(tool) for tool in tools)


def think_values(think: Think | None) -> dict[str, Value]:
    """The three values that tell a template about thinking; a plain true counts as medium."""
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def _message(message: Message) -> Record:
    calls = tuple(_call(call) for call in message.tool_calls)
    fields: dict[str, Value] = {
        "Role": message.role,
        "Content": message.content,
        "Thinking": message.thinking,
        "Images": message.images,
        "ToolCalls": calls,
        "ToolName": message.tool_name,
        "ToolCallID": message.tool_call_id,
    }
    members = {"role": message.role, "content": message.content} | _filled(
        thinking=message.thinking,
        images=message.images,
        tool_calls=calls,
        tool_name=message.tool_name,
        tool_call_id=message.tool_call_id,
    )
    return Record("message", fields, members)


def _call(call: ToolCall) -> Record:
    index, name = call.function.index, call.function.name
    arguments = JSONMap(_mapping(call.function.arguments))
    function = Record(
        "tool call function",
        {"Index": index, "Name": name, "Arguments": arguments},
        {"index": index, "name": name, "arguments": arguments},
    )
    return Record(
        "tool call",
        {"ID": call.id, "Function": function},
        {**_filled(id=call.id), "function": function},
    )


def _tool(tool: Tool) -> JSONRecord:
    items, function = _json(tool.items), _function(tool.function)
    return JSONRecord(
        "tool",
        {"Type": tool.type, "Items": items, "Function": function},
        {"type": tool.type, **_given(items=items), "function": function},
    )


def _function(function: ToolFunction) -> JSONRecord:
    """Prints as JSON, which published templates were written for; the reference prints a struct."""
    parameters = _parameters(function.parameters)
    return JSONRecord(
        "tool function",
        {"Name": function.name, "Description": function.description, "Parameters": parameters},
        {"name": function.name, "description": function.description, "parameters": parameters},
    )


def _parameters(parameters: ToolParameters) -> JSONRecord:
    defs, items = _json(parameters.defs), _json(parameters.items)
    properties = _properties(parameters.properties or {})
    fields: dict[str, Value] = {
        "Type": parameters.type,
        "Defs": defs,
        "Items": items,
        "Required": parameters.required,
        "Properties": properties,
    }
    members = {
        "type": parameters.type,
        **_given(**{"$defs": defs}, items=items),
        **_filled(required=parameters.required),
        "properties": properties,
    }
    return JSONRecord("tool parameters", fields, members)


def _properties(properties: Mapping[str, ToolProperty]) -> JSONMap:
    return JSONMap({name: _property(each) for name, each in properties.items()})


def _property(each: ToolProperty) -> JSONRecord:
    any_of = tuple(_property(alternative) for alternative in each.any_of)
    names = TypeNames((each.type,) if isinstance(each.type, str) else each.type)
    if names == ("",):
        names = TypeNames()
    items, enum = _json(each.items), _json(each.enum)
    properties = _properties(each.properties)
    fields: dict[str, Value] = {
        "AnyOf": any_of,
        "Type": names,
        "Items": items,
        "Description": each.description,
        "Enum": enum,
        "Properties": properties,
        "Required": each.required,
    }
    members = {
        **_filled(anyOf=any_of, type=names[0] if len(names) == 1 else names),
        **_given(items=items),
        **_filled(description=each.description, enum=enum),
        **_filled(properties=properties, required=each.required),
    }
    return JSONRecord("tool property", fields, members)


def _filled(**members: Value) -> dict[str, Value]:
    """The members that are not empty; what Go leaves out of JSON."""
    empty: tuple[Value, ...] = (None, "", (), {})
    return {name: value for name, value in members.items() if value not in empty}


def _given(**members: Value) -> dict[str, Value]:
    """The members that are something; for those that may be any JSON value, empty ones too."""
    return {name: value for name, value in members.items() if value is not None}


def _mapping(value: Mapping[str, JSON]) -> dict[str, Value]:
    return {key: _json(item) for key, item in value.items()}


def _json(value: JSON) -> Value:
    """A JSON value with numbers as Go holds them."""
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return tuple(_json(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT_IN_FLOAT:
        return float(value)
    result: Value = value
    return result
