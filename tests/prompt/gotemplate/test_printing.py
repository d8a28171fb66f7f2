import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.prompt.gotemplate.kinds import (
    ExecutionError,
    Record,
    Value,
    field,
    is_true,
    type_name,
)
from ollama_jupyter.prompt.gotemplate.printing import shortest, show, sprint, sprintln

RECORD = Record("thing", {"A": 1, "B": (True, None)}, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "<nil>"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        ("x", "x"),
        (2.0, "2"),
        (b"\x01\x02", "[1 2]"),
        (["a", ()], "[a []]"),
        ({"b": 1, "a": None}, "map[a:<nil> b:1]"),
        (RECORD, "{1 [true <nil>]}"),
        (1j, "1j"),
    ],
)
def test_show_prints_as_go_does(value: Value, expected: str) -> None:
    assert show(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (123456.0, "123456"),
        (1000000.0, "1e+06"),
        (-123456789.0, "-1.23456789e+08"),
        (1e100, "1e+100"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_shortest_prints_as_go_does(value: float, expected: str) -> None:
    assert shortest(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortest_reads_back_as_the_same(value: float) -> None:
    assert float(shortest(value)) == value


def test_sprint_separates_what_are_no_strings() -> None:
    assert sprint((1, 2, "a", 3, None, None)) == "1 2a3 <nil> <nil>"
    assert sprint(()) == ""
    assert sprintln((1, "a")) == "1 a\n"


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", (), [], {}, b""])
def test_is_true_refuses_what_is_empty(value: Value) -> None:
    assert not is_true(value)


@pytest.mark.parametrize("value", [True, 1, 0.5, "0", (None,), {"a": None}, RECORD])
def test_is_true_accepts_the_rest(value: Value) -> None:
    assert is_true(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "<nil>"),
        (True, "bool"),
        (1, "int"),
        (1.0, "float64"),
        ("", "string"),
        (b"", "[]uint8"),
        ({}, "map[string]interface {}"),
        ((), "[]interface {}"),
        (RECORD, "thing"),
    ],
)
def test_type_name_is_the_one_of_go(value: Value, expected: str) -> None:
    assert type_name(value) == expected


def test_field_looks_into_records_and_maps_only() -> None:
    assert field(RECORD, "A") == 1
    assert field({"x": 2}, "x") == 2
    assert field({}, "x") is None
    assert field(None, "x") is None
    for value in (RECORD, "text", 3, ()):
        with pytest.raises(ExecutionError, match="can't evaluate field x in type"):
            field(value, "x")
