"""Ministral: `[TOOL_CALLS]name[ARGS]{…}`, where the end of the object ends the call."""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from ollama_jupyter.api.types import Tool
from ollama_jupyter.inference.output.families.jsoncalls import decode_arguments
from ollama_jupyter.inference.output.families.kinds import FoundCall
from ollama_jupyter.inference.output.families.tagged import (
    Block,
    Default,
    Place,
    Shape,
    Thought,
)

_ARGUMENTS: Final = "[ARGS]"


def read_call(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """One call, as a name and a JSON object.

    Raises:
        ValueError: the text is no call.
    """
    del tools
    name, tag, arguments = text.partition(_ARGUMENTS)
    if not name.strip() or not tag:
        raise ValueError(f"no call: {text!r}")
    return [(name.strip(), decode_arguments(arguments))]


class UnclosedBlock(Block):
    """A call without a closing tag."""

    __slots__ = ()

    def split(self, text: str) -> tuple[str, str] | None:
        """The call and what comes behind its object; None while that is not complete."""
        _, tag, arguments = text.partition(_ARGUMENTS)
        start = arguments.lstrip()
        try:
            _, size = json.JSONDecoder().raw_decode(start)
        except (ValueError, RecursionError):
            return None
        end = len(text) - len(start) + size
        return (text[:end], text[end:]) if tag else None


MINISTRAL: Final = Shape(
    blocks=(UnclosedBlock(opening="[TOOL_CALLS]", closing="", read=read_call),),
    thought=Thought(
        opening="[THINK]", closing="[/THINK]", place=Place.ANYWHERE, default=Default.ALWAYS
    ),
)
