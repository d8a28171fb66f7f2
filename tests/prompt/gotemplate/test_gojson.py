import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.prompt.gotemplate.gojson import encode
from ollama_jupyter.prompt.gotemplate.kinds import ExecutionError, Record, Value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (12345678901234567890, "12345678901234567890"),
        (1.0, "1"),
        (0.0, "0"),
        (-0.0, "-0"),
        (1.5, "1.5"),
        (1e6, "1000000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (0.000001, "0.000001"),
        (0.0000001, "1e-7"),
        (1e-10, "1e-10"),
        ("<a> & é", '"\\u003ca\\u003e \\u0026 é"'),
        ('"\\\b\f\n\r\t\x01\x7f', '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f"'),
        ("\u2028\u2029\ud800", '"\\u2028\\u2029\\ufffd"'),
        (b"hi", '"aGk="'),
        ((), "[]"),
        ([1, "a", ()], '[1,"a",[]]'),
        ({}, "{}"),
        ({"b": 1, "a": {"d": 1, "c": None}}, '{"a":{"c":null,"d":1},"b":1}'),
        (Record("r", {}, {"z": 1, "a": 2}), '{"z":1,"a":2}'),
    ],
)
def test_encode_writes_as_go_does(value: Value, expected: str) -> None:
    assert encode(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": object()}])
def test_encode_refuses_what_json_cannot_say(value: Value) -> None:
    with pytest.raises(ExecutionError, match="json: unsupported"):
        encode(value)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | _TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
        max_leaves=10,
    )
)
def test_encode_reads_back_as_the_same(value: Value) -> None:
    assert json.loads(encode(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_encode_keeps_floats_exactly(value: float) -> None:
    assert float(encode(value)) == value
