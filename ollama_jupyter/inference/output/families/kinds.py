"""What a built-in parser is, and what the modules of this folder hand to each other."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from ollama_jupyter.api.types import JSON, Message, Think, Tool, ToolCall

Parsed: TypeAlias = tuple[str, str, list[ToolCall]]
"""Content, thinking and tool calls, in this order."""

FoundCall: TypeAlias = tuple[str, dict[str, JSON]]
"""Name and arguments of a call."""

ReadCalls: TypeAlias = Callable[[str, Sequence[Tool]], Iterable[FoundCall]]
"""The calls in the text between two tags; `ValueError` when it holds none that can be read."""


class BuiltinParser(Protocol):
    """Takes thinking and tool calls out of one reply, as its text arrives.

    Attributes:
        has_tools: whether it knows tool calls.
        has_thinking: whether it knows thinking.
    """

    @property
    def has_tools(self) -> bool:
        """Whether it knows tool calls."""

    @property
    def has_thinking(self) -> bool:
        """Whether it knows thinking."""

    def init(
        self, tools: Sequence[Tool], last_message: Message | None, think: Think | None
    ) -> Sequence[Tool]:
        """Begin a reply; to be called once, before any `add`.

        Args:
            tools: the tools that can be called.
            last_message: the last message of the conversation; an assistant's is continued.
            think: what was asked for; None when nothing was.

        Returns:
            The tools as the prompt must show them.
        """

    def add(self, text: str, done: bool) -> Parsed:
        """What is certain, now that `text` has arrived too; all the rest when it is `done`."""
