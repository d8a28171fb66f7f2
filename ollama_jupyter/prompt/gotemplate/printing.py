"""Printing values the way Go's fmt does without a format: `%v`, Sprint and Sprintln."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

from ollama_jupyter.prompt.gotemplate.kinds import Printed, Record, Value


def show(value: Value) -> str:
    """A value as `%v` prints it; the whole of nothing is `<nil>`."""
    if isinstance(value, Printed):
        return value.text()
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, Record):
        return f"{{{' '.join(show(item) for item in value.fields.values())}}}"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{show(value[key])}' for key in sorted(value))}]"
    if isinstance(value, bytes | tuple | list):
        return f"[{' '.join(show(item) for item in value)}]"
    return str(value)


def sprint(values: Sequence[Value]) -> str:
    """Values side by side, with a space between two that are no strings (Go fmt.Sprint)."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(show(value))
    return "".join(parts)


def sprintln(values: Iterable[Value]) -> str:
    """Values with spaces between them and a line end (Go fmt.Sprintln)."""
    return " ".join(show(value) for value in values) + "\n"


def shortest(value: float) -> str:
    """The shortest text that reads back as the same float (Go `%v`).

    It has an exponent below 1e-4 and from 1e6 on.
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    exact = Decimal(repr(value))
    if value == 0 or -4 <= exact.adjusted() < 6:
        return format(exact, "f").removesuffix(".0")
    sign, digits, _ = exact.normalize().as_tuple()
    mantissa = "".join(map(str, digits))
    point = "." if len(mantissa) > 1 else ""
    return f"{'-' * sign}{mantissa[0]}{point}{mantissa[1:]}e{exact.adjusted():+03d}"
