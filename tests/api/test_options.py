import logging
import struct
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_jupyter.api.options import (
    Options,
    RunnerOptions,
    format_params,
    merge,
    round_to_float32,
    shortest_float32,
)
from ollama_jupyter.api.types import JSON
from ollama_jupyter.errors import BadRequest


def test_merge_gives_the_defaults_when_nothing_is_set() -> None:
    assert merge({}, None) == Options()


def test_merge_prefers_the_request_over_the_model() -> None:
    options = merge({"num_ctx": 1024, "top_k": 3}, {"num_ctx": 2048})
    assert (options.num_ctx, options.top_k) == (2048, 3)


def test_merge_skips_nulls() -> None:
    assert merge({"seed": 7}, {"seed": None}).seed == 7


def test_merge_logs_an_unknown_name_once_and_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert merge({}, {"nope" * 1000: 1}) == Options()
    assert len(caplog.messages) == 1
    assert len(caplog.messages[0]) < 120


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        ("num_ctx", 2048.9, 2048),
        ("num_ctx", -1.5, -1),
        ("num_predict", 2**40, 2**31 - 1),
        ("num_keep", -(2**40), -(2**31)),
        ("seed", 2**40, 2**40),
        ("seed", 10**400, 2**63 - 1),
        ("main_gpu", 0, 0),
        ("use_mmap", False, False),
        ("temperature", 1, 1.0),
        ("top_p", 0.123456789, 0.12345679),
        ("stop", ["a", ""], ("a", "")),
        ("stop", [], ()),
    ],
)
def test_merge_types_a_value(name: str, value: JSON, typed: object) -> None:
    assert getattr(merge({}, {name: value}), name) == typed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_ctx", "x", 'option "num_ctx" must be of type integer'),
        ("num_ctx", True, 'option "num_ctx" must be of type integer'),
        ("num_ctx", float("nan"), 'option "num_ctx" must be of type integer'),
        ("temperature", "hot", 'option "temperature" must be of type float32'),
        ("temperature", float("inf"), 'option "temperature" must be of type float32'),
        ("temperature", 1e300, 'option "temperature" must be of type float32'),
        ("temperature", 10**400, 'option "temperature" must be of type float32'),
        ("use_mmap", 1, 'option "use_mmap" must be of type boolean'),
        ("stop", "x", 'option "stop" must be of type array'),
        ("stop", ["x", 1], 'option "stop" must be of an array of strings'),
    ],
)
def test_merge_refuses_a_wrong_type(name: str, value: JSON, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        merge({}, {name: value})
    assert str(caught.value) == message


@given(st.dictionaries(st.sampled_from(list(Options.__dataclass_fields__)), st.from_type(object)))
def test_merge_gives_options_or_bad_request_whatever_comes(options: dict[str, JSON]) -> None:
    try:
        merged = merge({}, options)
    except BadRequest:
        return
    assert -(2**31) <= merged.num_ctx < 2**31


@pytest.mark.parametrize(
    ("options", "runner"),
    [
        (Options(), RunnerOptions()),
        (Options(num_ctx=-1), RunnerOptions(num_ctx=4)),
        (Options(num_ctx=3, num_batch=0), RunnerOptions(num_ctx=4, num_batch=1)),
        (Options(num_gpu=-7, num_thread=-1), RunnerOptions()),
        (Options(main_gpu=-1), RunnerOptions()),
        (Options(main_gpu=1, use_mmap=False), RunnerOptions(main_gpu=1, use_mmap=False)),
    ],
)
def test_runner_holds_only_possible_values(options: Options, runner: RunnerOptions) -> None:
    assert options.runner() == runner


@pytest.mark.parametrize(
    ("name", "texts", "typed"),
    [
        ("num_ctx", ["4096"], 4096),
        ("num_ctx", ["+1", "2"], 1),
        ("seed", ["-9223372036854775808"], -(2**63)),
        ("temperature", ["0.7"], 0.7),
        ("temperature", [".5"], 0.5),
        ("temperature", ["5."], 5.0),
        ("temperature", ["1e-7"], 1e-7),
        ("use_mmap", ["T"], True),
        ("use_mmap", ["0"], False),
        ("stop", ["a", "b"], ["a", "b"]),
    ],
)
def test_format_params_types_texts(name: str, texts: list[str], typed: object) -> None:
    assert format_params({name: texts}) == {name: typed}


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("num_gqa", ["1"], "unknown parameter 'num_gqa'"),
        ("Seed", ["1"], "unknown parameter 'Seed'"),
        ("num_ctx", ["abc"], "invalid int value [abc]"),
        ("num_ctx", ["1.5", "2"], "invalid int value [1.5 2]"),
        ("temperature", ["hot"], "invalid float value [hot]"),
        ("temperature", ["nan"], "invalid float value [nan]"),
        ("temperature", ["1e39"], "invalid float value [1e39]"),
        ("temperature", ["1e400"], "invalid float value [1e400]"),
        ("use_mmap", ["foo"], "invalid bool value [foo]"),
    ],
)
def test_format_params_refuses_what_has_no_type(name: str, texts: list[str], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        format_params({name: texts})
    assert str(caught.value) == message


@example(struct.unpack("f", b"9\xc8o-")[0])  # takes nine digits
@example(struct.unpack("f", b"\xff\xff\x7f\x7f")[0])  # the largest
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortest_float32_reads_back(single: float) -> None:
    text = shortest_float32(single)
    assert struct.unpack("f", struct.pack("f", float(text)))[0] == single
    assert len(text) <= len(f"{single:.9g}")


@given(st.decimals(-1000, 1000, places=3))
def test_round_to_float32_keeps_short_decimals(decimal: Decimal) -> None:
    assert round_to_float32(float(decimal)) == float(decimal)


def test_round_to_float32_has_nothing_for_infinity() -> None:
    assert round_to_float32(float("inf")) is None
