"""What a request asks of a model, in the words of the runner protocol."""

import pytest

from ollama_jupyter.api.types import JSON, Think
from ollama_jupyter.errors import BadRequest, UnsupportedCapability
from ollama_jupyter.inference.wishes import check_top_logprobs, grammar_of, settle_think
from ollama_jupyter.runner.wire import Grammar
from tests.fakes.rooms import fake_model

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("wanted", "grammar"),
    [
        (None, None),
        ("", None),
        ("json", Grammar(kind="json_schema", value={"type": "object"})),
        (SCHEMA, Grammar(kind="json_schema", value=SCHEMA)),
        ({"type": "regex", "value": "a+"}, Grammar(kind="regex", value="a+")),
        ({"type": "choice", "value": ["a", "b"]}, Grammar(kind="choice", value=["a", "b"])),
        ({"type": "lark", "value": 'start: "a"'}, Grammar(kind="lark", value='start: "a"')),
        ({}, Grammar(kind="json_schema", value={})),
    ],
)
def test_grammar_of_reads_every_form(wanted: JSON, grammar: Grammar | None) -> None:
    assert grammar_of(wanted) == grammar


def test_grammar_of_keeps_what_it_waits_for() -> None:
    grammar = grammar_of("json", after="</think>")
    assert grammar is not None
    assert grammar.after == "</think>"


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("xml", r'invalid format: "\"xml\""; expected "json" or a valid JSON Schema object'),
        (5, 'invalid format: "5"; expected'),
        (["json"], r'invalid format: "[\"json\"]"; expected'),
        ({"type": "choice", "value": []}, "a list of texts"),
        ({"type": "choice", "value": ["a", 1]}, "a list of texts"),
        ({"type": "regex", "value": ""}, "a text"),
        ({"type": "lark", "value": 1}, "a text"),
    ],
)
def test_grammar_of_refuses_what_is_no_format(wanted: JSON, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        grammar_of(wanted)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("can_think", "think", "settled"),
    [
        (True, None, True),
        (True, False, False),
        (True, "high", "high"),
        (False, None, None),
        (False, False, False),
    ],
)
def test_settle_think_follows_the_request_and_the_model(
    can_think: bool, think: Think | None, settled: Think | None
) -> None:
    capabilities = ("completion", "thinking") if can_think else ("completion",)
    assert settle_think(fake_model(capabilities=capabilities), "m", think) == settled


@pytest.mark.parametrize("think", [True, "low"])
def test_settle_think_refuses_a_model_that_cannot(think: Think) -> None:
    with pytest.raises(UnsupportedCapability, match=r'^"m" does not support thinking$'):
        settle_think(fake_model(), "m", think)


@pytest.mark.parametrize("count", [0, 20])
def test_check_top_logprobs_lets_the_limits_pass(count: int) -> None:
    check_top_logprobs(count)


@pytest.mark.parametrize("count", [-1, 21])
def test_check_top_logprobs_refuses_others(count: int) -> None:
    with pytest.raises(BadRequest, match="top_logprobs must be between 0 and 20"):
        check_top_logprobs(count)
