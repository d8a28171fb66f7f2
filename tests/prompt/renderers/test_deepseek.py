import pytest

from ollama_jupyter.api.types import Message, Think, ToolProperty
from ollama_jupyter.prompt.renderers.deepseek import render_cogito, render_deepseek
from tests.prompt.renderers.conversation import call, says, tool

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
MODEL = "<｜Assistant｜>"
COGITO = (
    "You are Cogito, an AI assistant created by Deep Cogito,"
    " which is an AI research lab based in San Francisco."
)


@pytest.mark.parametrize(
    ("messages", "think", "expected"),
    [
        ([], None, ""),
        ([says("user", "q")], None, f"{USER}q{MODEL}</think>"),
        ([says("user", "q")], "high", f"{USER}q{MODEL}<think>"),
        ([says("user", "q"), says("user", "r")], False, f"{USER}q{USER}r{MODEL}</think>"),
        ([says("system", "a"), says("system", "b")], None, "a\n\nb"),
        (
            [says("user", "q"), says("system", "late"), says("other", "ignored")],
            None,
            f"late{USER}q{MODEL}</think>",
        ),
        (
            [says("user", "q"), says("assistant", "<think>t</think>a", thinking="t")],
            True,
            f"{USER}q{MODEL}</think>a{EOS}",
        ),
        ([says("assistant", "a"), says("assistant", "b")], None, f"a{EOS}b{EOS}"),
        (
            [says("user", "q"), says("tool", "r"), says("assistant", "a")],
            True,
            f"{USER}q<｜tool▁output▁begin｜>r<｜tool▁output▁end｜>a{EOS}",
        ),
    ],
)
def test_deepseek_marks_turns(messages: list[Message], think: Think | None, expected: str) -> None:
    assert render_deepseek(messages, [], think, True) == BOS + expected


def test_deepseek_lists_tools_and_calls() -> None:
    offered = [tool("f", "does", x=ToolProperty(type="string"))]
    asked = [says("user", "q"), says("assistant", "", call("f", x="1"), call("g"))]
    prompt = render_deepseek(asked, offered, None, True)
    assert prompt.startswith(f"{BOS}\n\n## Tools\n")
    assert (
        "\n### f\nDescription: does\n\nParameters: "
        '{"type":"object","properties":{"x":{"type":"string"}}}\n\nIMPORTANT'
    ) in prompt
    assert prompt.endswith(
        f"{MODEL}</think><｜tool▁calls▁begin｜>"
        '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"x":"1"}<｜tool▁call▁end｜>'
        f"<｜tool▁call▁begin｜>g<｜tool▁sep｜>{{}}<｜tool▁call▁end｜><｜tool▁calls▁end｜>{EOS}"
    )


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], MODEL),
        ([says("system", ""), says("user", "q")], f"{USER}q{MODEL}"),
        ([says("system", "s"), says("user", "q")], f"\n\ns{USER}q{MODEL}"),
        ([says("user", "q"), says("system", "late")], f"{USER}q{MODEL}{MODEL}"),
        (
            [says("user", "q"), says("assistant", "a"), says("user", "r")],
            f"{USER}q{MODEL}a{EOS}{USER}r{MODEL}",
        ),
        (
            [says("tool", "1"), says("tool", "2"), says("assistant", "a")],
            "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>1<｜tool▁output▁end｜>\n"
            "<｜tool▁output▁begin｜>2<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"
            f"a{EOS}{MODEL}",
        ),
        (
            [says("assistant", "a", call("f", x=1), call("g"))],
            "a<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
            '{"x":1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n'
            f"```json\n{{}}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>{EOS}{MODEL}",
        ),
    ],
)
def test_cogito_marks_turns(messages: list[Message], expected: str) -> None:
    assert render_cogito(messages, [], None, True) == BOS + COGITO + expected


def test_cogito_thinks_when_asked() -> None:
    assert render_cogito([says("user", "q")], [], True, True) == (
        f"{BOS}Enable deep thinking subroutine.\n\n{COGITO}{USER}q{MODEL}<think>\n"
    )


def test_cogito_lists_tools() -> None:
    prompt = render_cogito([says("user", "q")], [tool("f"), tool("g")], None, True)
    assert prompt.startswith(
        f'{BOS}{COGITO}\nYou have the following functions available:\n```json\n{{\n    "type":'
    )
    assert prompt.count("\n```\n") == 2
    assert prompt.endswith(f"\n}}\n```\n{USER}q{MODEL}")
