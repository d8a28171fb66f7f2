"""The message format of gpt-oss: `<|start|>header<|message|>body<|end|>`, again and again.

The header says who speaks, on which channel, and to whom. A model's reply begins inside a header,
because the prompt has already written `<|start|>assistant`.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final, TypeAlias

import msgspec

from ollama_jupyter.api.types import Message, Think, Tool, ToolCall, ToolCallFunction
from ollama_jupyter.errors import RunnerError
from ollama_jupyter.inference.output.thinking import overlap

_START: Final = "<|start|>"
_MESSAGE: Final = "<|message|>"
_END: Final = "<|end|>"
_CHANNEL: Final = "<|channel|>"
_CONSTRAIN: Final = "<|constrain|>"
_TO: Final = "to="
_NAMESPACE: Final = "functions."

_OWN_FUNCTIONS: Final = frozenset({"browser.open", "browser.search", "browser.find", "python"})
_UNDERSCORED: Final = frozenset(" -.")


# --- events ---------------------------------------------------------------------------------


class Start(msgspec.Struct, frozen=True, tag_field="type", tag="start"):
    """A message begins."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="header"):
    """Who speaks, on which channel and to whom; "" for what the header lacks."""

    role: str = ""
    channel: str = ""
    recipient: str = ""


class Content(msgspec.Struct, frozen=True, tag_field="type", tag="content"):
    """Part of a message's body."""

    text: str


class End(msgspec.Struct, frozen=True, tag_field="type", tag="end"):
    """A message ends."""


Event: TypeAlias = Start | Header | Content | End


def parse_header(text: str) -> Header:
    """The parts of a header, the text between `<|start|>` and `<|message|>`."""
    before, _, after = text.replace(_CONSTRAIN, f" {_CONSTRAIN}").partition(_CHANNEL)
    channel = after.split(maxsplit=1)[0] if after[:1].strip() else ""
    role, second, *_ = [*before.split(), *after[len(channel) :].split(), "", ""]
    if role.startswith(_TO):
        return Header(role="tool", channel=channel, recipient=role.removeprefix(_TO))
    recipient = second.removeprefix(_TO) if second.startswith(_TO) else ""
    return Header(role=role, channel=channel, recipient=recipient)


class _State(Enum):
    OUTSIDE = auto()
    HEADER = auto()
    BODY = auto()


_NEXT_TAG: Final = {_State.OUTSIDE: _START, _State.HEADER: _MESSAGE, _State.BODY: _END}


class HarmonyStream:
    """Turns text into events; what stands outside messages is dropped."""

    def __init__(self) -> None:
        self._state = _State.OUTSIDE
        self._held = ""

    def feed(self, text: str) -> list[Event]:
        """The events that are certain, now that `text` has arrived too."""
        self._held += text
        return list(self._events())

    def finish(self) -> list[Event]:
        """What was held back at the end of a body that never ended."""
        held, self._held = self._held, ""
        return [Content(held)] if held and self._state is _State.BODY else []

    def _events(self) -> Iterator[Event]:
        while _NEXT_TAG[self._state] in self._held:
            before, _, self._held = self._held.partition(_NEXT_TAG[self._state])
            yield from self._passed(before)
        if self._state is _State.HEADER:
            return
        end = len(self._held) - overlap(self._held, _NEXT_TAG[self._state])
        certain, self._held = self._held[:end], self._held[end:]
        if certain and self._state is _State.BODY:
            yield Content(certain)

    def _passed(self, before: str) -> Iterator[Event]:
        """The events of the text before a tag, and of the tag itself."""
        match self._state:
            case _State.OUTSIDE:
                self._state = _State.HEADER
                yield Start()
            case _State.HEADER:
                self._state = _State.BODY
                yield parse_header(before)
            case _:
                self._state = _State.OUTSIDE
                if before:
                    yield Content(before)
                yield End()


# --- names ----------------------------------------------------------------------------------


def identifier_for(name: str) -> str:
    """A function's name as the identifier that the model is shown."""
    if name in _OWN_FUNCTIONS:
        return name
    underscored = ("_" if letter in _UNDERSCORED else letter for letter in name)
    kept = "".join(letter for letter in underscored if _is_identifier_part(letter))
    if not kept:
        return "unnamed"
    return f"_{kept}" if _is_digit(kept[0]) else kept


def _is_identifier_part(letter: str) -> bool:
    return letter.isalpha() or letter in "_$" or _is_digit(letter)


def _is_digit(letter: str) -> bool:
    return unicodedata.category(letter) == "Nd"


class FunctionNames:
    """Identifiers for functions, no two the same, and the way back."""

    def __init__(self) -> None:
        self._originals: dict[str, str] = {}

    def add(self, name: str) -> str:
        """An identifier of its own for a function."""
        plain = found = identifier_for(name)
        count = 1
        while found in self._originals:
            count += 1
            found = f"{plain}_{count}"
        self._originals[found] = name
        return found

    def original(self, identifier: str) -> str:
        """The name an identifier stands for; an unknown one stands for itself."""
        return self._originals.get(identifier, identifier)


# --- replies --------------------------------------------------------------------------------


class HarmonyParser:
    """Takes thinking, content and one tool call out of a reply in this format."""

    has_tools = True
    has_thinking = True

    def __init__(self) -> None:
        self._stream = HarmonyStream()
        self._names = FunctionNames()
        self._header = Header()
        self._recipient = ""
        self._body = ""

    def init(
        self, tools: Sequence[Tool], last_message: Message | None, think: Think | None
    ) -> list[Tool]:
        """Begin a reply, in the middle of `last_message` if the assistant began it.

        Gives the tools under the names to show to the model. `think` changes nothing: the model
        thinks to whatever degree its prompt asks for.
        """
        del think
        for event in self._stream.feed(f"{_START}assistant{_prefill(last_message)}"):
            if isinstance(event, Header):
                self._header = event
        return [self._renamed(tool) for tool in tools]

    def add(self, text: str, done: bool) -> tuple[str, str, list[ToolCall]]:
        """The content, thinking and calls that are certain, now that `text` has arrived too.

        Raises:
            RunnerError: the reply is done and the arguments of its call are no JSON object.
        """
        events = self._stream.feed(text)
        if done:
            events += self._stream.finish()
        content = thinking = ""
        for event in events:
            match event:
                case Header():
                    self._header = event
                case Content(text=body) if self._header.recipient and self._is_for_tools():
                    self._recipient = self._header.recipient
                    self._body += body
                case Content(text=body) if self._header.channel == "analysis":
                    thinking += body
                case Content(text=body):
                    content += body
                case End():
                    self._header = Header()
                case _:
                    pass
        return content, thinking, [self._call()] if done and self._recipient else []

    def _is_for_tools(self) -> bool:
        return self._header.channel in ("analysis", "commentary")

    def _call(self) -> ToolCall:
        name = self._names.original(self._recipient.removeprefix(_NAMESPACE))
        try:
            arguments = msgspec.json.decode(self._body, type=dict)
        except (ValueError, RecursionError) as error:
            raise RunnerError(
                f"error parsing tool call: raw='{self._body}', err={error}"
            ) from error
        return ToolCall(function=ToolCallFunction(name=name, arguments=arguments))

    def _renamed(self, tool: Tool) -> Tool:
        name = self._names.add(tool.function.name)
        function = msgspec.structs.replace(tool.function, name=name)
        return msgspec.structs.replace(tool, function=function)


def _prefill(message: Message | None) -> str:
    """The rest of the header of a reply that the caller has begun."""
    if message is None or message.role != "assistant":
        return ""
    if message.content:
        return f"{_CHANNEL}final{_MESSAGE}"
    return f"{_CHANNEL}analysis{_MESSAGE}" if message.thinking else ""
