"""Qwen 3 and its kin: calls as JSON, or as nested tags, between `<tool_call>` tags."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ollama_jupyter.api.types import Tool
from ollama_jupyter.inference.output.families.jsoncalls import read_json_calls
from ollama_jupyter.inference.output.families.kinds import FoundCall
from ollama_jupyter.inference.output.families.tagged import Block, Default, Shape, Thought
from ollama_jupyter.inference.output.families.typed import typed_value

_FUNCTION: Final = re.compile(r"<function=([^>]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER: Final = re.compile(
    r"<parameter=([^>]+)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)


def read_coder_calls(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """Calls as `<function=name><parameter=key>value</parameter></function>`.

    Raises:
        ValueError: the text has no function.
    """
    functions = _FUNCTION.findall(text)
    if not functions:
        raise ValueError(f"no function in {text!r}")
    for name, body in functions:
        yield (
            name,
            {
                key: typed_value(_without_line_ends(value), name, key, tools)
                for key, value in _PARAMETER.findall(body)
            },
        )


def _without_line_ends(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")


_JSON_CALLS: Final = (Block(opening="<tool_call>", closing="</tool_call>", read=read_json_calls),)
CODER_CALLS: Final = (replace(_JSON_CALLS[0], read=read_coder_calls),)

QWEN3: Final = Shape(blocks=_JSON_CALLS)
QWEN3_THINKING: Final = Shape(
    blocks=_JSON_CALLS, thought=Thought(default=Default.ALWAYS, ends_at_call=True)
)
QWEN3_CODER: Final = Shape(blocks=CODER_CALLS)
QWEN35: Final = Shape(blocks=CODER_CALLS, thought=Thought(default=Default.ON, ends_at_call=True))
NEMOTRON: Final = Shape(blocks=CODER_CALLS, thought=Thought(default=Default.ON))
