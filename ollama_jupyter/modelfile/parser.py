"""The text of a Modelfile to its commands, and back.

    start ──letter──▶ name ──blank──▶ value ──line end, unless a quote is open──▶ start
      │                 ├─PARAMETER──▶ parameter name ──blank──▶ value
      └──#──▶ comment   └─MESSAGE────▶ role ───────────blank──▶ value

A value ends only at a line end: at the first one, or, when it began with one or three quotation
marks, at the first one whose line ends with as many. There are no escapes. Characters that show
nothing (zero-width joiners, no-break spaces) are dropped from values; blanks and line ends inside
stay as they are.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from ollama_jupyter.errors import InvalidModelfile

INSTRUCTIONS: Final = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
ROLES: Final = ("system", "user", "assistant")

_BLANKS: Final = " \t\r\n"
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
# The first character may be any; that it is no letter shows when the name is looked up.
_NAME: Final = re.compile(r"[^ \t\r\n#][A-Za-z]*")
_PARAMETER_NAME: Final = re.compile(r"[A-Za-z0-9_]*")
_ROLE: Final = re.compile(r"[A-Za-z]*")
_LINE_END: Final = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One instruction.

    Attributes:
        name: `model` for FROM, the parameter's own name for PARAMETER, else the instruction in
            lower case.
        args: the value without its quotes; for MESSAGE `role: text`.
    """

    name: str
    args: str


def decode_text(data: bytes) -> str:
    """The text of a Modelfile's bytes: UTF-16 when its first bytes say so, else UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def parse(text: str) -> tuple[Command, ...]:
    """The commands of a Modelfile, in order.

    Raises:
        InvalidModelfile: an unknown instruction or role (with its line), a value that does not
            end, or no FROM at all.
    """
    commands = _Reader(text.removeprefix("\ufeff")).commands()
    if not any(command.name == "model" for command in commands):
        raise InvalidModelfile("no FROM line")
    return tuple(commands)


class _Reader:
    """A cursor over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def commands(self) -> list[Command]:
        found: list[Command] = []
        while True:
            self._skip(_BETWEEN)
            if self._at == len(self._text):
                return found
            found.append(self._command())

    def _command(self) -> Command:
        instruction = _visible(self._skip(_NAME)).lower()
        if not self._ends_with_blank():
            self._fail_at_line(_one_of("command", INSTRUCTIONS))
        if instruction not in INSTRUCTIONS:
            self._fail_at_line(_one_of("command", INSTRUCTIONS))
        if instruction == "parameter":
            return Command(name=self._word(_PARAMETER_NAME), args=self._value())
        if instruction == "message":
            role = self._word(_ROLE)
            if role not in ROLES:
                self._fail_at_line(_one_of("message role", ROLES))
            return Command(name=instruction, args=f"{role}: {self._value()}")
        return Command(name="model" if instruction == "from" else instruction, args=self._value())

    def _word(self, pattern: re.Pattern[str]) -> str:
        word = self._skip(pattern)
        if not self._ends_with_blank():
            raise InvalidModelfile(f"unexpected EOF: {word}", line=self._line())
        return word

    def _ends_with_blank(self) -> bool:
        """Take the character after a word, and tell whether it is the blank that must stand there.

        Raises:
            InvalidModelfile: the text ends instead.
        """
        if self._at == len(self._text):
            raise InvalidModelfile("unexpected EOF", line=self._line())
        self._at += 1
        return self._text[self._at - 1] in " \t"

    def _value(self) -> str:
        line, end = self._rest_of_line()
        first = line.strip(_BLANKS)
        quote = '"""' if first.startswith('"""') else first[:1] if first.startswith('"') else ""
        if len(first) >= 2 * len(quote) and first.endswith(quote):
            return first[len(quote) : len(first) - len(quote)]
        pieces = [line, end]
        while end:
            line, end = self._rest_of_line()
            pieces.append(line)
            if line.rstrip(_BLANKS).endswith(quote):
                return "".join(pieces).strip(_BLANKS)[len(quote) : -len(quote)]
            pieces.append(end)
        raise InvalidModelfile("unexpected EOF", line=self._line())

    def _rest_of_line(self) -> tuple[str, str]:
        """What shows of the rest of this line, and the character that ended it ("" at the end)."""
        match = _LINE_END.search(self._text, self._at)
        start, self._at = self._at, match.end() if match else len(self._text)
        end = match[0] if match else ""
        return _visible(self._text[start : self._at - len(end)]), end

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None  # every pattern takes what stands where it is used
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        """The line of the cursor; CR and LF each begin a new one."""
        return 1 + self._text.count("\n", 0, self._at) + self._text.count("\r", 0, self._at)

    def _fail_at_line(self, message: str) -> NoReturn:
        line = self._line()
        raise InvalidModelfile(f"(line {line}): {message}", line=line)


def _one_of(what: str, names: tuple[str, ...]) -> str:
    quoted = [f'"{name}"' for name in names]
    return f"{what} must be one of {', '.join(quoted[:-1])}, or {quoted[-1]}"


def _visible(text: str) -> str:
    """The text without characters that show nothing; tabs and blanks stay."""
    if text.isprintable():
        return text
    return "".join(char for char in text if char == "\t" or char.isprintable())


def print_commands(commands: Iterable[Command]) -> str:
    """The Modelfile of these commands, one a line; `parse` reads them back from it."""
    return "".join(f"{_printed(command)}\n" for command in commands)


def _printed(command: Command) -> str:
    if command.name == "model":
        return f"FROM {command.args}"
    if command.name == "message":
        role, _, text = command.args.partition(": ")
        return f"MESSAGE {role} {_quoted(text)}"
    if command.name in INSTRUCTIONS:
        return f"{command.name.upper()} {_quoted(command.args)}"
    return f"PARAMETER {command.name} {_quoted(command.args)}"


def _quoted(text: str) -> str:
    """The text, in quotes where it would not be read back without."""
    needs_quotes = "\n" in text or "\r" in text or text != text.strip(" \t")
    if not needs_quotes and not text.startswith('"'):
        return text
    quote = '"""' if '"' in text else '"'
    return f"{quote}{text}{quote}"
