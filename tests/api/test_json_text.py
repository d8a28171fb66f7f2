import time

import pytest

from ollama_jupyter.api.json_text import (
    MAX_DEPTH,
    check_depth,
    decode_json,
    without_surrogates,
)
from ollama_jupyter.errors import BadRequest


def test_decode_json_stops_at_the_limit_of_depth() -> None:
    assert decode_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 900, 100_000):
        with pytest.raises(BadRequest, match="deeper than 64 levels"):
            decode_json(b"[" * depth + b"]" * depth)


def test_decode_json_makes_floats_of_long_integers() -> None:
    assert decode_json(b"9223372036854775807") == 2**63 - 1
    assert decode_json(b"1" + b"0" * 300) == 1e300
    with pytest.raises(BadRequest, match=r"number 9{40}… into Go value of type float64"):
        decode_json(b"9" * 5000)


def test_decode_json_is_quick_on_hostile_texts() -> None:
    started = time.perf_counter()
    for body in (b"9" * 1_000_000, b'{"a":' * 1_000_000, b'"' + b"\\ud800" * 100_000, b"-" * 10**6):
        with pytest.raises(BadRequest):
            decode_json(body)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'"\\ud800"', "\ufffd"),
        (b'"\\udc00x\\ud83d\\ude00"', "\ufffdx😀"),
        (b'"\xff"', "\ufffd"),
        (b'"\\u0000"', "\x00"),
    ],
)
def test_decode_json_holds_no_broken_text(body: bytes, text: str) -> None:
    assert decode_json(body) == text


def nested(depth: int) -> object:
    value: object = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_check_depth_lets_the_limit_through() -> None:
    check_depth(nested(MAX_DEPTH))
    check_depth("text")


def test_check_depth_refuses_one_level_more() -> None:
    with pytest.raises(BadRequest, match="deeper than 64 levels"):
        check_depth(nested(MAX_DEPTH + 1))


def test_without_surrogates_replaces_halves_only() -> None:
    value = {"\ud800": ["a\udc00b", "😀", 1, None]}
    assert without_surrogates(value) == {"\ufffd": ["a\ufffdb", "😀", 1, None]}
