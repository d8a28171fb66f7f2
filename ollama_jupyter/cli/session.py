"""An interactive session: the conversation, and what the `/` commands do to it.

`Session.command` gives the text to print; it reads no key and writes to no terminal. The commands
are in the table at the end; as in the reference, a line counts when it begins with their word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ollama_jupyter.api.options import format_params
from ollama_jupyter.api.types import CreateRequest, Message
from ollama_jupyter.cli import session_help
from ollama_jupyter.cli.models import listed
from ollama_jupyter.cli.run import Flags, default_think, show_installed
from ollama_jupyter.cli.show import render_model
from ollama_jupyter.cli.tables import models_table
from ollama_jupyter.cli.terminal import inert
from ollama_jupyter.client import calls
from ollama_jupyter.client.conversation import Conversation, Settings
from ollama_jupyter.client.sync import Client
from ollama_jupyter.errors import BadRequest, InvalidName, NotFound, OllamaError
from ollama_jupyter.names import ModelName

_THINK_LEVELS: Final = ("high", "medium", "low", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How answers are shown, and whether lines are kept; changed by `/set`."""

    flags: Flags
    keeps_history: bool


class Session:
    """A conversation with one model at a time.

    Args:
        client: talks to the server.
        model: the model's name, as typed.
        shown: what the server says of it.
        flags: those of the command line.
        keeps_history: whether lines typed are kept at the start.

    Attributes:
        conversation: every turn so far; sends the next.
        display: how to show what comes.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        shown: Mapping[str, Any],
        flags: Flags,
        *,
        keeps_history: bool,
    ) -> None:
        self._client = client
        self._shown = shown
        self._system = ""
        self.display = Display(flags=flags, keeps_history=keeps_history)
        self.conversation = Conversation(
            client,
            model,
            settings=Settings(
                format=flags.format,
                think=default_think(flags.think, shown),
                keep_alive=flags.keep_alive,
            ),
        )

    @property
    def stored_messages(self) -> list[tuple[str, str]]:
        """Role and text of the messages that belong to the model itself."""
        return [
            (str(message.get("role", "")), inert(str(message.get("content", ""))))
            for message in self._shown.get("messages") or ()
        ]

    def command(self, line: str) -> str:
        """Carry out a line that begins with `/`, and give back what to print."""
        word, _, rest = line.partition(" ")
        for name, action in _COMMANDS.items():
            if line.startswith(name):
                return action(self, rest.strip())
        return f"Unknown command '{word}'. Type /? for help\n"

    # --- /set -------------------------------------------------------------------------------

    def set_system(self, text: str) -> str:
        """Give the model a system message from here on."""
        self._system = text
        messages = self.conversation.messages
        if messages and messages[-1].role == "system":
            messages.pop()
        messages.append(Message(role="system", content=text))
        return "Set system message.\n"

    def set_(self, rest: str) -> str:
        """`/set NAME VALUE…`."""
        name, _, value = rest.partition(" ")
        value = value.strip()
        if not name:
            return session_help.SET
        action = _SETTINGS.get(name)
        if action is None:
            return f"Unknown command '/set {name}'. Type /? for help\n"
        return action(self, value)

    def _set_parameter(self, text: str) -> str:
        words = text.split()
        if len(words) < 2:
            return session_help.PARAMETERS
        name, *values = words
        try:
            self.conversation.settings.options |= format_params({name: values})
        except BadRequest as error:
            quoted = msgspec.json.encode(str(error)).decode()
            return f"Couldn't set parameter: {quoted}\n"
        return f"Set parameter '{name}' to '{', '.join(values)}'\n"

    def _set_format(self, value: str) -> str:
        if value != "json":
            return "Invalid or missing format. For 'json' mode use '/set format json'\n"
        self.conversation.settings.format = "json"
        return "Set format to 'json' mode.\n"

    def _set_no_format(self, _: str) -> str:
        self.conversation.settings.format = None
        return "Disabled format.\n"

    def _set_think(self, value: str) -> str:
        if value and value not in _THINK_LEVELS:
            return f'invalid think value: "{value}" (must be high, medium, low, or max)\n'
        self.conversation.settings.think = value or True
        mode = f"'think' mode to '{value}'" if value else "'think' mode"
        return f"Set {mode}.\n{self._think_warning()}"

    def _set_no_think(self, _: str) -> str:
        self.conversation.settings.think = False
        return f"Set 'nothink' mode.\n{self._think_warning()}"

    def _think_warning(self) -> str:
        if "thinking" in (self._shown.get("capabilities") or ()):
            return ""
        return f'warning: model "{self.conversation.model}" does not support thinking output\n'

    def _set_history(self, is_kept: bool) -> str:
        self.display = replace(self.display, keeps_history=is_kept)
        return ""

    def _set_mode(
        self, mode: str, *, is_wrapped: bool | None = None, is_verbose: bool | None = None
    ) -> str:
        flags = self.display.flags
        flags = replace(
            flags,
            is_wrapped=flags.is_wrapped if is_wrapped is None else is_wrapped,
            is_verbose=flags.is_verbose if is_verbose is None else is_verbose,
        )
        self.display = replace(self.display, flags=flags)
        return f"Set '{mode}' mode.\n"

    # --- /show ------------------------------------------------------------------------------

    def show(self, rest: str) -> str:
        """`/show SECTION`, as this session has it."""
        section = rest.partition(" ")[0]
        if section not in _SECTIONS:
            return (
                f"Unknown command '/show {section}'. Type /? for help\n"
                if section
                else session_help.SHOW
            )
        options = self.conversation.settings.options
        shown = self._client.request(
            calls.show(self.conversation.model, system=self._system, options=options or None)
        )
        if section == "info":
            return render_model(shown)
        if section == "parameters":
            return _shown_parameters(inert(str(shown.get("parameters") or "")), options)
        # The reference keeps the session's system message apart from the model's.
        text = str(shown.get(section) or "")
        if section == "system":
            text = self._system or text
        return f"{inert(text).rstrip()}\n" if text else _EMPTY[section]

    # --- the others -------------------------------------------------------------------------

    def load(self, rest: str) -> str:
        """`/load MODEL`: go on with another model, and forget what was said."""
        words = rest.split()
        if len(words) != 1:
            return "Usage:\n  /load <modelname>\n"
        (model,) = words
        try:
            shown = show_installed(self._client, model)
        except NotFound:
            return f"Couldn't find model '{model}'\n"
        settings = self.conversation.settings
        settings.think = default_think(self.display.flags.think, shown)
        self._client.request(
            calls.load(model, keep_alive=settings.keep_alive, think=settings.think)
        )
        self._shown, self._system = shown, ""
        self.conversation = Conversation(self._client, model, settings=settings)
        return f"Loading model '{model}'\n"

    def save(self, rest: str) -> str:
        """`/save MODEL`: make a model of this session."""
        words = rest.split()
        if len(words) != 1:
            return "Usage:\n  /save <modelname>\n"
        (model,) = words
        try:
            ModelName.parse(model)
        except InvalidName:
            return f"error: The model name '{model}' is invalid\n"
        with self._client.stream(calls.create(self._saved_as(model))) as records:
            for _ in records:
                pass
        return f"Created new model '{model}'\n"

    def _saved_as(self, model: str) -> CreateRequest:
        details = self._shown.get("details") or {}
        try:
            parent = str(details.get("parent_model") or "")
            base = ModelName.parse(parent).display() if parent else self.conversation.model
        except InvalidName:
            base = self.conversation.model
        stored = [Message(role=role, content=text) for role, text in self.stored_messages]
        said = [message for message in self.conversation.messages if message.role != "system"]
        return CreateRequest(
            model=model,
            from_=base,
            system=self._system,
            parameters=dict(self.conversation.settings.options) or None,
            messages=(*stored, *said),
        )

    def clear(self, _: str) -> str:
        """`/clear`: forget what was said, not the system message."""
        self.conversation.messages.clear()
        if self._system:
            self.set_system(self._system)
        return "Cleared session context\n"

    def list_(self, rest: str) -> str:
        """`/list`: the installed models."""
        models = listed(self._client.request(calls.list_()))
        return models_table(models, prefix=rest, now=datetime.now(UTC))

    def help_(self, rest: str) -> str:
        """`/?` and `/help`."""
        return session_help.TOPICS.get(rest, session_help.OVERVIEW)


def is_recoverable(error: OllamaError) -> bool:
    """Whether a session goes on after an error of a turn: it is about a setting of this session."""
    text = str(error)
    return "does not support thinking" in text or "invalid think value" in text


def _shown_parameters(stored: str, options: Mapping[str, Any]) -> str:
    lines = ["Model defined parameters:"]
    if stored:
        lines += [f"  {line}" for line in stored.splitlines()]
    else:
        lines.append("  No additional parameters were specified for this model.")
    if options:
        lines += ["", "User defined parameters:"]
        for name in sorted(options):
            value = options[name]
            values = value if isinstance(value, list) else [value]
            lines.append(f"  {name:<30} {' '.join(str(entry) for entry in values)}")
    return "".join(f"{line}\n" for line in [*lines, ""])


_EMPTY: Final = {
    "license": "No license was specified for this model.\n",
    "modelfile": "\n",
    "system": "No system message was specified for this model.\n",
    "template": "No prompt template was specified for this model.\n",
}
_SECTIONS: Final = ("info", "parameters", *_EMPTY)

_Action = Callable[[Session, str], str]
_SETTINGS: Final[dict[str, _Action]] = {
    "parameter": Session._set_parameter,
    "system": lambda session, value: session.set_system(value),
    "history": lambda session, _: session._set_history(True),
    "nohistory": lambda session, _: session._set_history(False),
    "wordwrap": lambda session, _: session._set_mode("wordwrap", is_wrapped=True),
    "nowordwrap": lambda session, _: session._set_mode("nowordwrap", is_wrapped=False),
    "verbose": lambda session, _: session._set_mode("verbose", is_verbose=True),
    "quiet": lambda session, _: session._set_mode("quiet", is_verbose=False),
    "format": Session._set_format,
    "noformat": Session._set_no_format,
    "think": Session._set_think,
    "nothink": Session._set_no_think,
}
_COMMANDS: Final[dict[str, _Action]] = {
    "/set": Session.set_,
    "/show": Session.show,
    "/load": Session.load,
    "/save": Session.save,
    "/clear": Session.clear,
    "/list": Session.list_,
    "/help": Session.help_,
    "/?": Session.help_,
}
