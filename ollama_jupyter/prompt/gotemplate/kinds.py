"""What kinds of value a template can meet, and what Go makes of each.

    Go                   here
    nil, no value        None
    bool, int, float64   bool, int, float
    string               str (lengths and indexes count its UTF-8 bytes)
    slice                tuple or list; bytes for a slice of bytes
    map                  dict with str keys
    struct               Record

A value that prints itself in a way of its own (Go's Stringer) is also a `Printed`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = object
"""A template value: one of the types of the table above."""


class ExecutionError(ValueError):
    """A function or field could not do what the template asks; the evaluator adds the place."""


class Printed(ABC):
    """A value with a text of its own."""

    __slots__ = ()

    @abstractmethod
    def text(self) -> str:
        """What printing it gives."""


@dataclass(frozen=True, slots=True)
class Record:
    """A value with fixed fields: asking for another one is an error.

    Attributes:
        name: the type, for errors.
        fields: what a template can ask for, in the order Go prints them.
        members: what JSON shows, in order, empty ones already left out.
    """

    name: str
    fields: Mapping[str, Value]
    members: Mapping[str, Value]


def is_true(value: Value) -> bool:
    """Whether `if` takes the value for true: not zero, not empty (Go template.IsTrue)."""
    if value is None:
        return False
    if isinstance(value, bool | int | float):
        return value != 0
    if isinstance(value, str | bytes | tuple | list | dict):
        return len(value) > 0
    return True


def type_name(value: Value) -> str:
    """Go's name of the value's type."""
    if value is None:
        return "<nil>"
    if isinstance(value, Record):
        return value.name
    names = (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (bytes, "[]uint8"),
        (dict, "map[string]interface {}"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "[]interface {}")


def field(value: Value, name: str) -> Value:
    """The field of a record, or the entry of a map; None where a map or nothing has none.

    Raises:
        ExecutionError: a record without that field, or a value that has no fields.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, Record) and name in value.fields:
        return value.fields[name]
    raise ExecutionError(f"can't evaluate field {name} in type {type_name(value)}")
