"""Gemma 4 and FunctionGemma: calls as `call:name{key:value}`, strings between tags."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from ollama_jupyter.api.types import Tool
from ollama_jupyter.inference.output.families.kinds import FoundCall
from ollama_jupyter.inference.output.families.literals import LiteralReader
from ollama_jupyter.inference.output.families.tagged import Block, Place, Shape, Thought


def read_marked_call(text: str, tools: Sequence[Tool], *, marker: str) -> Iterable[FoundCall]:
    """One call whose strings stand between two `marker`s; brackets missing at its end are borne.

    Raises:
        ValueError: the text is no call.
    """
    del tools
    name, brace, arguments = text.strip().removeprefix("call:").partition("{")
    if not name.strip() or not brace:
        raise ValueError(f"no call: {text!r}")
    reader = LiteralReader(arguments, marker=marker, is_lenient=True)
    return [(name.strip(), reader.members("}", ":"))]


FUNCTIONGEMMA: Final = Shape(
    blocks=(
        Block(
            opening="<start_function_call>",
            closing="<end_function_call>",
            read=partial(read_marked_call, marker="<escape>"),
        ),
    )
)
_CALLS: Final = (
    Block(
        opening="<|tool_call>",
        closing="<tool_call|>",
        read=partial(read_marked_call, marker='<|"|>'),
    ),
)
GEMMA4: Final = Shape(
    blocks=_CALLS,
    thought=Thought(
        opening="<|channel>", closing="<channel|>", label="thought\n", place=Place.ANYWHERE
    ),
)
GEMMA4_NO_THINKING: Final = Shape(blocks=_CALLS)
