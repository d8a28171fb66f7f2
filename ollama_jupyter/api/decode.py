"""Request bodies by the rules of Go's encoding/json, in one place.

`decode` gives a Struct of `api.types` (or of another dialect) from bytes:

- only the first JSON value counts, bytes after it are ignored;
- a name matches a struct field exactly or in any case; the keys of a free mapping (options, tool
  arguments, properties) stay as they are; unknown names are ignored;
- null leaves a field at its default, and makes an element of a list the zero value of its type;
- text that is no Unicode becomes U+FFFD, a half of a surrogate pair too;
- errors carry Go's wording, and the first one in the text counts.

Stricter than Go, which would go on: nesting stops at `MAX_DEPTH`, numbers are finite. Syntax is
read by the standard library's scanner; only a text it refuses is read again by `go_syntax_error`,
which finds Go's words for it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from ollama_jupyter.api.base64_text import decode_base64
from ollama_jupyter.api.json_text import decode_json
from ollama_jupyter.api.types import (
    JSON,
    ChatRequest,
    EmbeddingRequest,
    EmbedRequest,
    GenerateRequest,
    Message,
    ToolProperty,
)
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import keep_alive_from_json

Made: TypeAlias = Any
"""A value as the type of its field wants it."""

StructType = TypeVar("StructType", bound=msgspec.Struct)

_INT64: Final = range(-(2**63), 2**63)
_THINK_LEVELS: Final = ("high", "medium", "low", "max")

# Older names of fields, used when the field itself is not sent.
_ALIASES: Final[Mapping[str, str]] = {"quantization": "quantize"}


def decode(
    struct_type: type[StructType], body: bytes, *, struct_name: str | None = None
) -> StructType:
    """The request that a body holds.

    Args:
        struct_type: the Struct to make; its nested Structs are made by the same rules.
        body: as it came; whatever its content type said.
        struct_name: what errors call the Struct; its own name when None.

    Raises:
        BadRequest: the body is empty, no JSON, nested too deep, or has a value of a wrong type.
    """
    value = decode_json(body)
    name = struct_name or struct_type.__name__
    if value is None:
        value = {}
    if not isinstance(value, dict):
        _refuse(_kind(value), f"Go value of type api.{name}")
    made: StructType = _struct(struct_type, value, _Place(name, ()))
    return made


# --- values to types ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the body a value stands: the request's name and the fields down to it."""

    struct_name: str
    path: tuple[str, ...]

    def at(self, field: str) -> "_Place":
        return _Place(self.struct_name, (*self.path, field))


def _refuse(what: str, where: str) -> NoReturn:
    raise BadRequest(f"json: cannot unmarshal {what} into {where}")


def _mismatch(value: JSON, kind: inspect.Type, place: _Place) -> NoReturn:
    path = ".".join(place.path)
    what = _kind(value)
    if what == "number" and isinstance(kind, inspect.IntType):
        what = f"number {value}"
    _refuse(what, f"Go struct field {place.struct_name}.{path} of type {_go_type(kind)}")


def _kind(value: JSON) -> str:
    """What Go calls the JSON type of a value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "number"


def _go_type(kind: inspect.Type) -> str:
    """How Go names the type a field has there."""
    match kind:
        case inspect.StrType():
            return "string"
        case inspect.IntType():
            return "int"
        case inspect.BoolType():
            return "bool"
        case inspect.FloatType():
            return "float64"
        case inspect.BytesType():
            return "api.ImageData"
        case inspect.StructType():
            return f"api.{kind.cls.__name__}"
        case inspect.DictType():
            return f"map[string]{_go_type(kind.value_type)}"
        case inspect.VarTupleType() | inspect.ListType():
            return f"[]{_go_type(kind.item_type)}"
        case inspect.UnionType():
            return _go_type(_members(kind)[0])
        case _:
            return "interface {}"


@dataclass(frozen=True, slots=True)
class _Fields:
    """How the JSON names of a Struct map to its fields."""

    exact: Mapping[str, inspect.Field]
    folded: Mapping[str, inspect.Field]

    def find(self, key: str) -> inspect.Field | None:
        field = self.exact.get(key)
        if field is None:
            key = key.casefold()
            field = self.folded.get(key) or self.folded.get(_ALIASES.get(key, ""))
        return field


@cache
def _fields(struct_type: type[msgspec.Struct]) -> _Fields:
    info = inspect.type_info(struct_type)
    if not isinstance(info, inspect.StructType):  # pragma: no cover
        raise TypeError(f"{struct_type!r} is no Struct")
    return _Fields(
        {field.encode_name: field for field in info.fields},
        {field.encode_name.casefold(): field for field in info.fields},
    )


def _struct(struct_type: type[msgspec.Struct], value: Mapping[str, JSON], place: _Place) -> Made:
    known = _fields(struct_type)
    checks = _CHECKS.get(struct_type, {})
    made: dict[str, Made] = {}
    for key, entry in value.items():
        field = known.find(key)
        if field is None or entry is None:
            continue
        if key.casefold() in _ALIASES and made.get(field.name):
            continue
        check = checks.get(field.name)
        if check is not None:
            entry = check(entry)
        made[field.name] = _convert(field.type, entry, place.at(field.encode_name))
    for field in known.exact.values():
        if field.required and field.name not in made:
            made[field.name] = _zero(field.type)
    return struct_type(**made)


def _convert(kind: inspect.Type, value: JSON, place: _Place) -> Made:
    """One value that is not null as its type."""
    match kind:
        case inspect.AnyType():
            return value
        case inspect.UnionType():
            return _union(kind, value, place)
        case inspect.BytesType() if isinstance(value, str):
            return decode_base64(value)
        case inspect.StructType() if isinstance(value, dict):
            return _struct(kind.cls, value, place)
        case inspect.DictType() if isinstance(value, dict):
            return {key: _element(kind.value_type, entry, place) for key, entry in value.items()}
        case inspect.VarTupleType() if isinstance(value, list):
            return tuple(_elements(kind.item_type, value, place))
        case inspect.ListType() if isinstance(value, list):
            return list(_elements(kind.item_type, value, place))
    if not _is_scalar(kind, value):
        _mismatch(value, kind, place)
    return value


def _is_scalar(kind: inspect.Type, value: JSON) -> bool:
    match kind:
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and value in _INT64
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return False


def _members(kind: inspect.UnionType) -> list[inspect.Type]:
    return [member for member in kind.types if not isinstance(member, inspect.NoneType)]


def _union(kind: inspect.UnionType, value: JSON, place: _Place) -> Made:
    members = _members(kind)
    for member in members[:-1]:
        try:
            return _convert(member, value, place)
        except BadRequest:
            continue
    return _convert(members[-1], value, place)


def _elements(kind: inspect.Type, values: list[JSON], place: _Place) -> Iterable[Made]:
    # A context holds hundreds of thousands of integers; taking each by itself would hold others up.
    if isinstance(kind, inspect.IntType) and _are_int64(values):
        return values
    return (_element(kind, entry, place) for entry in values)


def _are_int64(values: list[JSON]) -> bool:
    is_integers = set(map(type, values)) == {int}  # no bool among them
    return is_integers and min(values) in _INT64 and max(values) in _INT64


def _element(kind: inspect.Type, value: JSON, place: _Place) -> Made:
    return _zero(kind) if value is None else _convert(kind, value, place)


def _zero(kind: inspect.Type) -> Made:
    """What Go has where nothing was written."""
    match kind:
        case inspect.StrType():
            return ""
        case inspect.IntType():
            return 0
        case inspect.BoolType():
            return False
        case inspect.FloatType():
            return 0.0
        case inspect.BytesType():
            return b""
        case inspect.StructType():
            return _struct(kind.cls, {}, _Place("", ()))
        case inspect.DictType():
            return {}
        case inspect.VarTupleType():
            return ()
        case inspect.ListType():
            return []
        case _:
            return None


# --- fields with rules of their own ---------------------------------------------------------


def _check_keep_alive(value: JSON) -> JSON:
    keep_alive_from_json(value)
    return value


def _check_think(value: JSON) -> JSON:
    choice = '"high", "medium", "low", "max", true, or false'
    if isinstance(value, str) and value not in _THINK_LEVELS:
        raise BadRequest(f"invalid think value: {json.dumps(value)} (must be {choice})")
    if not isinstance(value, bool | str):
        raise BadRequest(f"think must be a boolean or string ({choice})")
    return value


def _lower_role(value: JSON) -> JSON:
    return value.lower() if isinstance(value, str) else value


def _unwrap_type(value: JSON) -> JSON:
    """A list of one type name is that name."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


_KEEPS_ALIVE: Final = {"keep_alive": _check_keep_alive}
_GENERATES: Final = {**_KEEPS_ALIVE, "think": _check_think}
_CHECKS: Final[Mapping[type[msgspec.Struct], Mapping[str, Callable[[JSON], JSON]]]] = {
    GenerateRequest: _GENERATES,
    ChatRequest: _GENERATES,
    EmbedRequest: _KEEPS_ALIVE,
    EmbeddingRequest: _KEEPS_ALIVE,
    Message: {"role": _lower_role},
    ToolProperty: {"type": _unwrap_type},
}
