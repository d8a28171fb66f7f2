"""Go's comparisons: only like with like, and no order among booleans and lists."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ollama_jupyter.prompt.gotemplate.kinds import ExecutionError, Record, Value, type_name


def _basic(value: Value) -> type | None:
    """The basic kind of a value; None for what has no order and no simple equality."""
    return next((kind for kind in (bool, int, float, str) if isinstance(value, kind)), None)


def equals_any(args: Sequence[Value]) -> bool:
    """Whether the first argument equals one of the others (Go template.eq).

    Raises:
        ExecutionError: nothing to compare with, or values of different kinds.
    """
    first, *others = args
    if not others:
        raise ExecutionError("error calling eq: missing argument for comparison")
    return any(_equal(first, other) for other in others)


def _equal(first: Value, second: Value) -> bool:
    """Nothing equals only nothing."""
    if first is None or second is None:
        return first is second
    kind = _basic(first)
    if kind is not _basic(second):
        raise ExecutionError(
            "error calling eq: incompatible types for comparison: "
            f"{type_name(first)} and {type_name(second)}"
        )
    if kind is None and not (isinstance(first, Record) and isinstance(second, Record)):
        raise ExecutionError(f"error calling eq: non-comparable type {type_name(second)}")
    return first == second


def _differs(args: Sequence[Value]) -> bool:
    first, second = _two(args, "ne")
    return not _equal(first, second)


def _two(args: Sequence[Value], name: str) -> tuple[Value, Value]:
    if len(args) != 2:
        raise ExecutionError(f"wrong number of args for {name}: want 2 got {len(args)}")
    return args[0], args[1]


def _ordered(
    name: str, compare: Callable[[str | float, str | float], bool]
) -> Callable[[Sequence[Value]], bool]:
    def run(args: Sequence[Value]) -> bool:
        first, second = _two(args, name)
        kind = _basic(first)
        if kind in (None, bool) or _basic(second) in (None, bool):
            raise ExecutionError(f"error calling {name}: invalid type for comparison")
        if kind is not _basic(second):
            raise ExecutionError(
                f"error calling {name}: incompatible types for comparison: "
                f"{type_name(first)} and {type_name(second)}"
            )
        return compare(first, second)  # type: ignore[arg-type]  # both are of one basic kind

    return run


COMPARISONS: Final[Mapping[str, tuple[Callable[[Sequence[Value]], bool], int]]] = {
    "eq": (equals_any, 1 << 30),
    "ne": (_differs, 2),
    "lt": (_ordered("lt", operator.lt), 2),
    "le": (_ordered("le", operator.le), 2),
    "gt": (_ordered("gt", operator.gt), 2),
    "ge": (_ordered("ge", operator.ge), 2),
}
"""The comparing functions and how many arguments they take at most."""
