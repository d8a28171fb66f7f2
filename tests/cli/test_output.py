"""How an answer is printed: thinking apart, in grey in a terminal, tool calls named."""

import pytest

from ollama_jupyter.api.types import ToolCall, ToolCallFunction
from ollama_jupyter.cli.output import AnswerPrinter, render_timings
from ollama_jupyter.client.conversation import Piece

GREY, PLAIN = "\x1b[38;5;245m", "\x1b[0m"


def printed(
    capsys: pytest.CaptureFixture[str],
    *pieces: Piece,
    is_terminal: bool = False,
    hides_thinking: bool = False,
) -> str:
    printer = AnswerPrinter(width=0, is_terminal=is_terminal, hides_thinking=hides_thinking)
    for piece in pieces:
        printer.feed(piece)
    printer.finish()
    return capsys.readouterr().out


def test_thinking_is_set_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Piece(thinking="a"), Piece(thinking="b"), Piece(content="c")) == (
        "Thinking...\nab\n...done thinking.\n\nc"
    )


def test_thinking_that_ends_its_line_gets_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Piece(thinking="a\n"), Piece(content="c")) == (
        "Thinking...\na\n...done thinking.\n\nc"
    )


def test_thinking_is_closed_when_no_answer_comes(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Piece(thinking="a")) == "Thinking...\na\n...done thinking.\n\n"


def test_thinking_is_grey_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Piece(thinking="a"), Piece(content="c"), is_terminal=True) == (
        f"{GREY}Thinking...\n{PLAIN}{GREY}a{PLAIN}{GREY}\n...done thinking.\n\n{PLAIN}c"
    )


def test_thinking_is_left_out_when_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = (Piece(thinking="a"), Piece(content="c"))
    assert printed(capsys, *pieces, hides_thinking=True) == "c"


def test_tool_call_nobody_offered_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    call = ToolCall(function=ToolCallFunction(name="f\x1b[31m", arguments={"x": "é"}))
    assert printed(capsys, Piece(tool_calls=(call,))) == (
        '  Model called a non-existent function \'f()\' with arguments: {"x":"é"}\n'
    )


def test_escape_split_between_pieces_is_stripped(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Piece(content="a\x1b["), Piece(content="31mb")) == "ab"


@pytest.mark.parametrize(
    ("final", "expected"),
    [
        ({}, ""),
        ({"total_duration": 1_500_000_000}, "total duration:       1.5s\n"),
        ({"eval_count": 3}, "eval count:           3 token(s)\n"),
        (
            {"eval_count": 3, "eval_duration": 2_000_000_000},
            "eval count:           3 token(s)\neval duration:        2s\n"
            "eval rate:            1.50 tokens/s\n",
        ),
    ],
)
def test_render_timings_leaves_out_what_is_zero(final: dict[str, int], expected: str) -> None:
    assert render_timings(final) == expected
