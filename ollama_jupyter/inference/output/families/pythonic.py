"""OLMo 3 and LFM 2: calls as a Python program would write them."""

from collections.abc import Iterable, Sequence
from typing import Final

from ollama_jupyter.api.types import Tool
from ollama_jupyter.inference.output.families.jsoncalls import read_json_calls
from ollama_jupyter.inference.output.families.kinds import FoundCall
from ollama_jupyter.inference.output.families.literals import LiteralReader
from ollama_jupyter.inference.output.families.tagged import Block, Default, Place, Shape, Thought


def read_python_calls(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """Calls like `name(key="value")`, in a list, on lines, or alone; arguments are named.

    Raises:
        ValueError: the text is something else.
    """
    del tools
    reader = LiteralReader(text)
    is_list = reader.takes("[")
    while not reader.is_at_end() and not (is_list and reader.takes("]")):
        name = reader.name()
        if not name or not reader.takes("("):
            raise ValueError(f"no call: {text!r}")
        yield name, reader.members(")", "=")
        reader.takes(",")


def read_python_or_json_calls(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """Calls as a program or as JSON objects."""
    is_json = text.lstrip(" \n[").startswith("{")
    return read_json_calls(text, tools) if is_json else read_python_calls(text, tools)


_LFM_CALLS: Final = (
    Block(
        opening="<|tool_call_start|>",
        closing="<|tool_call_end|>",
        read=read_python_or_json_calls,
    ),
)

OLMO3: Final = Shape(
    blocks=(Block(opening="<function_calls>", closing="</function_calls>", read=read_python_calls),)
)
OLMO3_THINK: Final = Shape(thought=Thought(default=Default.ALWAYS))
LFM2: Final = Shape(blocks=_LFM_CALLS)
LFM2_THINKING: Final = Shape(blocks=_LFM_CALLS, thought=Thought(place=Place.AT_START))
