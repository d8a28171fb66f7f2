"""One completion, taken apart into pieces."""

from contextlib import aclosing

import pytest

from ollama_jupyter.api.types import Tool, ToolFunction
from ollama_jupyter.errors import RunnerError
from ollama_jupyter.inference.completion import (
    Outcome,
    Output,
    Piece,
    answer,
    metrics,
    new_call_id,
    truncated,
)
from ollama_jupyter.inference.output.thinking import ThinkingParser
from ollama_jupyter.inference.output.tools import ToolParser
from ollama_jupyter.inference.waiting import Progress
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.runner.wire import CompletionChunk, CompletionRequest, Grammar
from tests.fakes.rooms import TIMINGS, TOOL_TEMPLATE, FakeRunner, words

TOOLS = (Tool(function=ToolFunction(name="weather")),)


def _plain() -> Output:
    return Output(None, None)


def _thinking() -> Output:
    return Output(ThinkingParser("<think>", "</think>"), None)


def _calling() -> Output:
    return Output(None, ToolParser(Template.parse(TOOL_TEMPLATE), TOOLS))


async def _items(
    runner: FakeRunner, request: CompletionRequest, new_output: object = _plain
) -> list[Progress | Piece | Outcome]:
    assert callable(new_output)
    return [item async for item in answer(runner, request, new_output)]  # type: ignore[arg-type]  # a stand-in


async def test_answer_ends_with_the_outcome() -> None:
    runner = FakeRunner(answers=[words("a", "b", stop_reason="length", truncated=4)])
    *pieces, last = await _items(runner, CompletionRequest(prompt="p"))
    assert pieces == [Piece(content="a"), Piece(content="b")]
    assert last == Outcome(
        stop_reason="length", tokens=(100, 101), timings=TIMINGS, truncated_tokens=4
    )


async def test_answer_sends_no_empty_pieces() -> None:
    runner = FakeRunner(answers=[words("", "a", "")])
    items = await _items(runner, CompletionRequest(prompt="p"))
    assert [item for item in items if isinstance(item, Piece)] == [Piece(content="a")]


async def test_answer_sends_the_text_of_the_last_chunk_before_the_outcome() -> None:
    chunk = CompletionChunk(text="end", tokens=(1,), done=True, stop_reason="stop", timings=TIMINGS)
    piece, outcome = await _items(FakeRunner(answers=[[chunk]]), CompletionRequest(prompt="p"))
    assert piece == Piece(content="end")
    assert isinstance(outcome, Outcome)
    assert outcome.tokens == (1,)


async def test_answer_refuses_an_end_without_timings() -> None:
    runner = FakeRunner(answers=[[CompletionChunk(done=True)]])
    with pytest.raises(RunnerError, match="timings"):
        await _items(runner, CompletionRequest(prompt="p"))


async def test_answer_passes_prefill_on() -> None:
    progress = CompletionChunk(prefill_completed=3, prefill_total=9)
    runner = FakeRunner(answers=[[progress, *words("a")]])
    first, *_ = await _items(runner, CompletionRequest(prompt="p"))
    assert first == Progress(status="prefill", completed=3, total=9)


async def test_answer_leaves_the_runner_when_it_is_closed() -> None:
    runner = FakeRunner()
    async with aclosing(answer(runner, CompletionRequest(prompt="p"), _plain)) as items:  # type: ignore[arg-type]  # a stand-in
        await anext(items)
    assert runner.closed == 1


async def test_answer_gives_back_what_a_parser_held_to_the_end() -> None:
    runner = FakeRunner(answers=[words("<thi")])
    items = await _items(runner, CompletionRequest(prompt="p"), _thinking)
    assert items[0] == Piece(content="<thi")


async def test_answer_gives_back_a_bracket_that_was_no_call() -> None:
    template = Template.parse("{{ .Messages }}")
    runner = FakeRunner(answers=[words('{"a"', ": 1")])
    items = await _items(
        runner, CompletionRequest(prompt="p"), lambda: Output(None, ToolParser(template, TOOLS))
    )
    assert "".join(item.content for item in items if isinstance(item, Piece)) == '{"a": 1'


async def test_answer_sends_content_and_a_call_of_one_piece_both() -> None:
    text = 'Sure. <tool_call>{"name": "weather", "arguments": {}}'
    runner = FakeRunner(answers=[words(text)])
    items = await _items(runner, CompletionRequest(prompt="p"), _calling)
    pieces = [item for item in items if isinstance(item, Piece)]
    assert "".join(piece.content for piece in pieces).strip() == "Sure."
    assert [call.function.name for piece in pieces for call in piece.tool_calls] == ["weather"]


@pytest.mark.parametrize("texts", [("Sure", "!"), ("",), ("<think>",)])
async def test_answer_asks_again_when_a_delayed_constraint_would_miss(texts: tuple[str]) -> None:
    runner = FakeRunner(answers=[words(*texts), words("{}")])
    grammar = Grammar(kind="json_schema", value={}, after="</think>")
    request = CompletionRequest(prompt="p", grammar=grammar)
    items = await _items(runner, request, _thinking)
    assert [r.grammar.after for r in runner.completions if r.grammar] == ["</think>", ""]
    assert [item.content for item in items if isinstance(item, Piece)] == ["{}"]
    assert sum(isinstance(item, Outcome) for item in items) == 1


async def test_answer_asks_once_when_the_model_thinks() -> None:
    runner = FakeRunner(answers=[words("<think>", "hm", "</think>", "{}")])
    grammar = Grammar(kind="json_schema", value={}, after="</think>")
    request = CompletionRequest(prompt="p", grammar=grammar)
    items = await _items(runner, request, _thinking)
    assert len(runner.completions) == 1
    assert "".join(item.thinking for item in items if isinstance(item, Piece)) == "hm"


def test_metrics_count_from_the_arrival_of_the_request() -> None:
    outcome = Outcome(stop_reason="stop", tokens=(), timings=TIMINGS, truncated_tokens=0)
    figures = metrics(outcome, started_ns=100, ready_ns=130, ended_ns=1000)
    assert (figures.total_duration, figures.load_duration) == (900, 30)
    assert (figures.prompt_eval_count, figures.prompt_eval_cached_count) == (12, 5)
    assert (figures.prompt_eval_duration, figures.eval_duration) == (300, 600)
    assert figures.eval_count == 3


def test_truncated_says_nothing_when_nothing_was_left_out() -> None:
    assert truncated(0, 0) is None
    both = truncated(2, 3)
    assert both is not None
    assert (both.messages, both.tokens) == (2, 3)


def test_call_ids_differ() -> None:
    assert len({new_call_id() for _ in range(100)}) == 100
