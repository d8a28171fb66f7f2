"""The prompt: reads lines from a terminal, sends them, shows the answers.

What a line means is decided by `Lines` (several lines in quotes) and `Session` (commands); here
are the keys, the screen and the interrupt.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from ollama_jupyter.cli.history import FileHistory
from ollama_jupyter.cli.output import print_timings
from ollama_jupyter.cli.progress import Waiting
from ollama_jupyter.cli.run import Flags
from ollama_jupyter.cli.session import Session, is_recoverable
from ollama_jupyter.client import calls
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Config
from ollama_jupyter.errors import OllamaError, ServerError

_QUOTES: Final = '"""'
_SET_SYSTEM: Final = "/set system "
_TAB: Final = " " * 8


@dataclass(slots=True)
class Lines:
    """Joins lines between triple quotes into one text; pure.

    Attributes:
        is_open: whether a quote was opened and not closed, so that more lines belong to it.
    """

    is_open: bool = False
    _is_system: bool = False
    _parts: list[str] = field(default_factory=list)

    def feed(self, line: str) -> str | None:
        """The whole input a line completes; None when more is to come.

        A system message in quotes comes back behind `/set system`, with its newlines.
        """
        if self.is_open:
            return self._go_on(line)
        text = line.strip()
        body = text.removeprefix(_SET_SYSTEM).lstrip()
        if not body.startswith(_QUOTES):
            return text
        self._is_system = body != text
        self.is_open, self._parts = True, []
        return self._go_on(body.removeprefix(_QUOTES))

    def drop(self) -> None:
        """Forget what was begun."""
        self.is_open, self._parts = False, []

    def _go_on(self, line: str) -> str | None:
        if not line.rstrip().endswith(_QUOTES):
            self._parts.append(line)
            return None
        text = "\n".join([*self._parts, line.rstrip().removesuffix(_QUOTES)])
        self.drop()
        return f"{_SET_SYSTEM}{text}" if self._is_system else text


def hold_session(
    client: Client, model: str, shown: Mapping[str, Any], flags: Flags, config: Config
) -> None:
    """Talk to a model until the user leaves.

    Raises:
        OllamaError: the model cannot be loaded, or the server broke off.
    """
    history = FileHistory(config.user_dir / "history", is_kept=not config.nohistory)
    session = Session(client, model, shown, flags, keeps_history=history.is_kept)
    _load(session)
    for role, text in session.stored_messages:
        click.echo(f">>> {text}" if role == "user" else f"{text}\n")
    prompt = _Prompt(history)
    while (said := prompt.read()) is not None:
        if said.startswith(("/bye", "/exit")):
            return
        if said.startswith("/"):
            _command(session, said)
            history.is_kept = session.display.keeps_history
        elif said:
            _turn(session, said)


def _load(session: Session) -> None:
    """Load the model while a spinner turns."""
    conversation = session.conversation
    settings = conversation.settings
    with Waiting("loading model"):
        conversation.client.request(
            calls.load(conversation.model, keep_alive=settings.keep_alive, think=settings.think)
        )


def _command(session: Session, line: str) -> None:
    try:
        click.echo(session.command(line), nl=False)
    except ServerError as error:
        click.echo(f"error: {error}")


def _turn(session: Session, text: str) -> None:
    """Send a message and show the answer; an interrupt stops it, and keeps what came."""
    printer = session.display.flags.printer()
    final: Mapping[str, Any] = {}
    try:
        with closing(session.conversation.send(text)) as pieces:
            for piece in pieces:
                printer.feed(piece)
                final = piece.final or final
    except KeyboardInterrupt:
        pass  # the answer is in the conversation as far as it came
    except OllamaError as error:
        if not is_recoverable(error):
            raise
        click.echo(f"error: {error}")
        return
    finally:
        printer.finish()
    click.echo("\n")
    if session.display.flags.is_verbose:
        print_timings(final)


class _Prompt:
    """The terminal's side: one input at a time."""

    def __init__(self, history: FileHistory) -> None:
        self._lines = Lines()
        self._prompt: PromptSession[str] = PromptSession(
            history=history,
            key_bindings=_keys(),
            enable_suspend=True,
            prompt_continuation="... ",
        )

    def read(self) -> str | None:
        """What the user wants to say; "" for nothing; None when they leave."""
        is_more = self._lines.is_open
        hint = "Press Enter to send" if is_more else "Send a message (/? for help)"
        try:
            line = self._prompt.prompt(
                "... " if is_more else ">>> ",
                placeholder=HTML(f'<style fg="ansibrightblack">{hint}</style>'),
            )
        except KeyboardInterrupt:
            # An interrupt of a line, or of a quote, only drops it.
            if not (self._prompt.default_buffer.text or self._lines.is_open):
                click.echo("\nUse Ctrl + d or /bye to exit.")
            self._lines.drop()
            return ""
        except EOFError:
            return None
        text: str | None = None
        for part in line.split("\n"):
            text = (
                self._lines.feed(part)
                if self._lines.is_open or text is None
                else (f"{text}\n{part}")
            )
        return "" if text is None else text


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("tab")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(_TAB)

    @keys.add("c-g")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    return keys
