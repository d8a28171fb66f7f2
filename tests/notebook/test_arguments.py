import pytest

from ollama_jupyter.notebook.arguments import (
    ChatLine,
    HelpShown,
    OllamaLine,
    chat_help,
    ollama_help,
    parse_chat_line,
    parse_ollama_line,
)
from ollama_jupyter.notebook.failures import CellFailed

PENALTIES = {"top_p": 0.9, "repeat_penalty": 2.0}


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("", ChatLine(model="", options={})),
        ("smollm2:135m", ChatLine(model="smollm2:135m", options={})),
        (
            "m --temperature 0 --seed 7",
            ChatLine(model="m", options={"temperature": 0.0, "seed": 7}),
        ),
        ("--num-predict -1 m", ChatLine(model="m", options={"num_predict": -1})),
        ("m --num_ctx 4096 --top-k=5", ChatLine(model="m", options={"num_ctx": 4096, "top_k": 5})),
        ("m --stop 'a b' --stop c", ChatLine(model="m", options={"stop": ["a b", "c"]})),
        (
            "m --top-p .9 --repeat-penalty 1.1",
            ChatLine(model="m", options={"top_p": 0.9, "repeat_penalty": 1.1}),
        ),
    ],
)
def test_chat_line_gives_model_and_options(line: str, parsed: ChatLine) -> None:
    assert parse_chat_line(line) == parsed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m --temprature 0", "unrecognized arguments: --temprature"),
        ("m --temp 0", "unrecognized arguments: --temp"),
        ("m --seed x", "invalid int value: 'x'"),
        ("m n", "unrecognized arguments: n"),
        ("m 'open", "does not parse"),
    ],
)
def test_chat_line_fails_in_one_line(line: str, message: str) -> None:
    with pytest.raises(CellFailed) as caught:
        parse_chat_line(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("serve", OllamaLine(command="serve", name="")),
        ("status", OllamaLine(command="status", name="")),
        ("list", OllamaLine(command="list", name="")),
        ("list smol", OllamaLine(command="list", name="smol")),
        ("ps", OllamaLine(command="ps", name="")),
        ("show m", OllamaLine(command="show", name="m")),
        ("stop m", OllamaLine(command="stop", name="m")),
        ("reset", OllamaLine(command="reset", name="")),
        ("reset m", OllamaLine(command="reset", name="m")),
        ("pull m:1b", OllamaLine(command="pull", name="m:1b")),
    ],
)
def test_ollama_line_gives_command_and_name(line: str, parsed: OllamaLine) -> None:
    assert parse_ollama_line(line) == parsed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lst", "invalid choice: 'lst'"),
        ("show", "required: MODEL"),
        ("status now", "unrecognized arguments: now"),
    ],
)
def test_ollama_line_fails_in_one_line(line: str, message: str) -> None:
    with pytest.raises(CellFailed) as caught:
        parse_ollama_line(line)
    assert message in str(caught.value)


@pytest.mark.parametrize("line", ["", "-h", "show --help"])
def test_ollama_line_prints_help_and_does_nothing_else(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HelpShown):
        parse_ollama_line(line)
    assert "usage: %ollama" in capsys.readouterr().out


def test_help_names_every_command_and_option() -> None:
    for word in ("serve", "status", "list", "ps", "show", "stop", "reset", "pull"):
        assert word in ollama_help()
    for word in ("--temperature", "--seed", "--num-predict", "--stop", "%ollama list"):
        assert word in chat_help()
