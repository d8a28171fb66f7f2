"""The lines of `%ollama` and `%%chat`, parsed: what may stand there, its help, and one-line errors.

A mistyped line fails the cell with one sentence; `-h` prints the help and does nothing else.
"""

import argparse
import shlex
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ollama_jupyter.notebook.failures import CellFailed

# Flags of %%chat that become options of the request, with the kind of their value.
_OPTIONS: Final[tuple[tuple[str, type, str], ...]] = (
    ("temperature", float, "how freely it chooses; 0 always takes the likeliest token"),
    ("top_k", int, "choose among this many likeliest tokens"),
    ("top_p", float, "choose among the likeliest tokens that together have this probability"),
    ("repeat_penalty", float, "above 1: discourage repeating"),
    ("seed", int, "the same seed gives the same answer"),
    ("num_predict", int, "at most this many tokens; -1: until it ends"),
    ("num_ctx", int, "tokens of conversation it can see"),
)


class HelpShown(Exception):
    """The line asked for help, which was printed; nothing else is to be done."""


class _LineParser(argparse.ArgumentParser):
    """Fails the cell where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise CellFailed(f"{message} ({self.prog} -h shows what is possible)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown(status, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLine:
    """What stood on the line of a `%%chat` cell.

    Attributes:
        model: the model's name; "" when the line had none.
        options: the options given, under their API names.
    """

    model: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaLine:
    """What stood after `%ollama`.

    Attributes:
        command: serve, status, list, ps, show, stop, reset or pull.
        name: a model's name, or the start of names for list and ps; "" when none was given.
    """

    command: str
    name: str


def parse_chat_line(line: str) -> ChatLine:
    """The line of a `%%chat` cell.

    Raises:
        CellFailed: an unknown flag or a value of the wrong kind.
        HelpShown: the line asked for help.
    """
    values = vars(_chat_parser().parse_args(_split(line)))
    model = values.pop("model")
    stop = values.pop("stop")
    options = {name: value for name, value in values.items() if value is not None}
    if stop:
        options["stop"] = stop
    return ChatLine(model=model, options=options)


def parse_ollama_line(line: str) -> OllamaLine:
    """The line of `%ollama`.

    Raises:
        CellFailed: an unknown command, or a missing or superfluous name.
        HelpShown: the line asked for help, or was empty.
    """
    parser = _ollama_parser()
    words = _split(line)
    if not words:
        parser.print_help()
        raise HelpShown
    values = parser.parse_args(words)
    return OllamaLine(command=values.command, name=getattr(values, "name", ""))


def chat_help() -> str:
    """The help of `%%chat`."""
    return _chat_parser().format_help()


def ollama_help() -> str:
    """The help of `%ollama`."""
    return _ollama_parser().format_help()


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise CellFailed(f"the line {line.strip()!r} does not parse: {error}") from None


def _chat_parser() -> _LineParser:
    parser = _LineParser(
        prog="%%chat",
        description="Ask a model; the cell below the line is the message. Each model keeps its"
        " conversation from cell to cell, until %ollama reset.",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", default="", help="as %%ollama list shows it")
    for name, kind, text in _OPTIONS:
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        parser.add_argument(*flags, dest=name, type=kind, help=text)
    parser.add_argument("--stop", action="append", help="end before this text; may be repeated")
    return parser


def _ollama_parser() -> _LineParser:
    parser = _LineParser(
        prog="%ollama", description="Models and the server that runs them.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="start a server, unless one is running")
    commands.add_parser("status", help="say which server is used, or that none runs")
    for name, text in (("list", "installed models"), ("ps", "models in memory")):
        command = commands.add_parser(name, help=text)
        command.add_argument("name", nargs="?", default="", help="only names that start like this")
    for name, text in (
        ("show", "what a model is and can do"),
        ("stop", "unload a model from memory"),
        ("pull", "download a model (comes in a later version)"),
    ):
        commands.add_parser(name, help=text).add_argument("name", metavar="MODEL")
    reset = commands.add_parser("reset", help="forget the conversation, of one model or of all")
    reset.add_argument("name", metavar="MODEL", nargs="?", default="")
    return parser
