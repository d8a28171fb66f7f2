from datetime import datetime

import pytest

from ollama_jupyter.api.types import JSON
from tests.contract.cases import Key
from tests.contract.compare import (
    difference,
    error_difference,
    expects_error,
    is_equal,
    with_dates,
    without_empty,
)

FULL = ("some", "kind")


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ("1", 1, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False),
        ({"a_any_order": [2, {"x": 1}]}, {"a_any_order": [{"x": 1}, 2]}, True),
        ({"a_any_order": [1, 1]}, {"a_any_order": [1, 2]}, False),
        ({"a": [2, 1]}, {"a": [1, 2]}, False),
    ],
)
def test_is_equal_compares_json_values(first: JSON, second: JSON, equal: bool) -> None:
    assert is_equal(first, second) is equal
    assert is_equal(second, first) is equal


@pytest.mark.parametrize(
    ("key", "expect", "result", "passes"),
    [
        (FULL, "text", "text", True),
        (FULL, None, None, True),
        (FULL, None, {}, False),
        (FULL, {"a": 1}, {"a": 1, "b": 0, "c": False, "d": ""}, True),
        (FULL, {"a": 1}, {"a": 1, "b": 2}, False),
        (FULL, {"a": None, "b": "", "c": [], "d": {}}, {}, True),
        (FULL, {"a": False}, {}, False),
        (FULL, {"a": 0}, {}, False),
        (FULL, {"a": None}, {"a": ""}, False),
        (FULL, {"a": [1, [2]]}, {"a": (1, (2,))}, True),
        (FULL, {"a": {"b": None}}, {"a": {}}, False),
        (FULL, {"a_any_order": ["x", "y"]}, {"a_any_order": ["y", "x"]}, True),
        (("model-name", "parse"), {"a": 1}, {"a": 1, "b": 2}, True),
        (("model-name", "parse"), {"a": 1}, {"b": 2}, False),
        (("model-name", "parse"), "x", "y", False),
        (("chat-prompt", "tokenize-calls"), {"max_tokenize_calls": 3},
         {"max_tokenize_calls": 3}, True),
        (("chat-prompt", "tokenize-calls"), {"max_tokenize_calls": 3},
         {"max_tokenize_calls": 4}, False),
        (("http", "empty-store"), {"status": 200}, {"status": 200, "text": "x"}, True),
        (("http", "empty-store"), {"status": 200}, {"status": 404, "text": "x"}, False),
        (("http", "empty-store"), {"status": 1, "json": {"a": 1}, "ignore": ["id"]},
         {"status": 1, "json": {"a": 1, "id": 9}, "text": ""}, True),
        (("http", "empty-store"), {"status": 1, "json": {"a": 1}},
         {"status": 1, "json": {"a": 1, "id": 9}}, False),
    ],
)  # fmt: skip
def test_difference_follows_the_rule_of_the_kind(
    key: Key, expect: JSON, result: JSON, passes: bool
) -> None:
    assert (difference(key, expect, result) is None) is passes


REQUEST = {
    "model": "m",
    "stream": False,
    "messages": [{"role": "user", "content": "x", "images": [], "thinking": ""}],
    "options": {"seed": 0},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "format": None,
}


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"model": "n"}, False),
        ({"messages": [{"role": "user", "content": "x"}], "format": {}}, True),
        ({"messages": [{"role": "user", "content": "x", "id": "1"}]}, False),
        ({"options": {"seed": 0, "top_k": 0}}, False),
        ({"tools": []}, False),
        ({"think": True}, False),
    ],
)
def test_difference_compares_requests_with_tools_by_name(
    change: dict[str, JSON], passes: bool
) -> None:
    expect = {
        "request": {
            "model": "m",
            "stream": False,
            "messages": [{"role": "user", "content": "x"}],
            "options": {"seed": 0},
            "tool_names": ["f"],
        }
    }
    key = ("anthropic", "messages-request")
    assert (difference(key, expect, {"request": REQUEST | change}) is None) is passes


@pytest.mark.parametrize(
    ("expect", "message", "passes"),
    [
        ({"error_contains": "not b"}, "is not both", True),
        ({"error_contains": "not b"}, "is not", False),
        ({"error": "no"}, "no", True),
        ({"error": "no"}, "no!", False),
        ({"error": True}, "anything", True),
        ({"a": 1}, "anything", False),
        ("text", "anything", False),
    ],
)
def test_error_difference_compares_texts(expect: JSON, message: str, passes: bool) -> None:
    assert (error_difference(expect, message) is None) is passes


def test_expects_error_when_a_key_says_so() -> None:
    assert expects_error({"error": True})
    assert expects_error({"error_contains": "x"})
    assert not expects_error({"type": "error"})
    assert not expects_error("error")


def test_with_dates_fills_in_days_of_template_cases() -> None:
    now = datetime(2026, 3, 1)
    text = "{TODAY:%Y-%m-%d} {YESTERDAY:%d %B} {OTHER:x}"
    assert with_dates({"prompt": text, "n": 1}, now) == {
        "prompt": "2026-03-01 28 February {OTHER:x}",
        "n": 1,
    }
    today = datetime.now().strftime("%Y")
    assert difference(("template", "messages"), {"prompt": "{TODAY:%Y}"}, {"prompt": today}) is None


def test_without_empty_keeps_false_and_zero() -> None:
    value: JSON = {"a": None, "b": [{"c": "", "d": 0}], "e": {"f": []}, "g": False}
    assert without_empty(value) == {"b": [{"d": 0}], "g": False}
