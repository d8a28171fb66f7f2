"""Answers in a form: masks laid over the logits of a real model."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ollama_jupyter.errors import BadRequest
from ollama_jupyter.runner.wire import Grammar, Sampling
from tests.runner.bench import Bench
from tests.tiny_models import write_llama, write_script

pytestmark = pytest.mark.engine

WILD = Sampling(temperature=1.5, seed=1, top_k=0, top_p=1)
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(write_llama(tmp_path_factory.mktemp("models") / "tiny-llama.gguf"))


def _answer(bench: Bench, kind: str, value: Any = None, **request: Any) -> str:  # noqa: ANN401
    grammar = Grammar(kind=kind, value=value)
    request = {"sampling": WILD, "num_predict": 200} | request
    return bench.answer("one two", grammar=grammar, **request).text


def test_schema_is_followed_by_a_model_that_writes_noise(bench: Bench) -> None:
    bounded = {**SCHEMA, "properties": {**SCHEMA["properties"], "age": {"enum": [1, 22]}}}  # type: ignore[dict-item]  # a JSON value

    record = json.loads(_answer(bench, "json_schema", bounded))

    assert set(record) == {"name", "age"}
    assert record["age"] in (1, 22)
    assert len(record["name"]) <= 8


def test_json_starts_an_object(bench: Bench) -> None:
    assert _answer(bench, "json", num_predict=30).lstrip().startswith("{")


def test_regex_is_matched_whole(bench: Bench) -> None:
    assert re.fullmatch(r"[0-9]{3}-[a-c]{2}", _answer(bench, "regex", "[0-9]{3}-[a-c]{2}"))


def test_choice_is_one_of_the_choices(bench: Bench) -> None:
    choices = ["yes", "no\n", 'it "depends"', "\u00e9t\u00e9"]

    assert _answer(bench, "choice", choices) in choices


def test_lark_grammar_is_followed(bench: Bench) -> None:
    assert re.fullmatch("a(ba){1,3}", _answer(bench, "lark", 'start: "a" ("ba"){1,3}'))


def test_answer_ends_when_the_form_is_complete(bench: Bench) -> None:
    grammar = Grammar(kind="choice", value=["fox"])

    answer = bench.answer("one two", grammar=grammar, num_predict=200)

    assert answer.text == "fox"
    assert answer.last.stop_reason == "stop"


def test_form_that_never_ends_is_cut_by_the_limit(bench: Bench) -> None:
    grammar = Grammar(kind="regex", value="(ab)+c{1000}")

    answer = bench.answer("one two", grammar=grammar, num_predict=-1, num_ctx=32)

    assert answer.last.stop_reason == "length"
    assert len(answer.ids) <= 320


def test_form_starts_after_the_text_it_waits_for(tmp_path: Path) -> None:
    bench = Bench(write_script(tmp_path / "script.gguf"))
    grammar = Grammar(kind="choice", value=["42"], after="</think>")

    answer = bench.answer("<|cue_think|>", grammar=grammar, num_predict=50)

    assert answer.text == "<think>\nThe user wants a sum.\n</think>42"


def test_streams_with_and_without_a_form_run_side_by_side(bench: Bench) -> None:
    free = bench.start("one two", num_predict=20)
    bound = bench.start("one two", grammar=Grammar(kind="regex", value="[a-z]{9}"))
    bench.run()

    assert re.fullmatch("[a-z]{9}", bound.text)
    bench.assert_greedy(free.prompt, free.ids)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("regex", "(unclosed"),
        ("regex", ""),
        ("lark", "start: ((("),
        ("lark", "  "),
        ("choice", []),
        ("choice", ["a", 1]),
        ("choice", [""]),
        ("json_schema", "text"),
        ("json_schema", {"type": "no such type"}),
        ("json_schema", {"$ref": "http://example.org/schema"}),
        ("gbnf", 'root ::= "a"'),
    ],
)
def test_form_that_cannot_be_followed_is_refused(bench: Bench, kind: str, value: object) -> None:
    with pytest.raises(BadRequest, match="invalid format"):
        bench.compiler.compile(Grammar(kind=kind, value=value))


def test_deeply_nested_schema_is_refused(bench: Bench) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(20_000):
        schema = {"type": "array", "items": schema}

    with pytest.raises(BadRequest, match="invalid format"):
        bench.compiler.compile(Grammar(kind="json_schema", value=schema))


def test_mask_forbids_everything_else(bench: Bench) -> None:
    constraint = bench.compiler.compile(Grammar(kind="regex", value="[0-9]"))
    logits = np.zeros(bench.weights.vocab_size, np.float32)

    constraint.prepare()
    constraint.apply(logits)

    allowed = {bench.weights.piece(int(token)) for token in np.flatnonzero(logits == 0)}
    assert allowed == {str(digit).encode() for digit in range(10)}
