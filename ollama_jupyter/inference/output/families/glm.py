"""GLM and Laguna: a name, then pairs of `<arg_key>` and `<arg_value>`."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ollama_jupyter.api.types import Tool
from ollama_jupyter.inference.output.families.jsoncalls import read_json_calls
from ollama_jupyter.inference.output.families.kinds import FoundCall
from ollama_jupyter.inference.output.families.tagged import Block, Default, Place, Shape, Thought
from ollama_jupyter.inference.output.families.typed import typed_value

_PAIR: Final = re.compile(
    r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|\Z)", re.DOTALL
)


def read_pairs(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """One call, as its name and its pairs.

    Raises:
        ValueError: the text has no name.
    """
    name = text.partition("<arg_key>")[0].strip()
    if not name:
        raise ValueError(f"no name in {text!r}")
    pairs = ((key.strip(), value) for key, value in _PAIR.findall(text))
    return [(name, {key: typed_value(value, name, key, tools) for key, value in pairs})]


def read_pairs_or_json(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """One call, as a name with pairs or as a JSON object."""
    is_json = text.lstrip().startswith("{")
    return read_json_calls(text, tools) if is_json else read_pairs(text, tools)


_CALLS: Final = (Block(opening="<tool_call>", closing="</tool_call>", read=read_pairs),)

GLM: Final = Shape(blocks=_CALLS, thought=Thought(default=Default.ON))
GLM_OCR: Final = Shape(blocks=_CALLS)
LAGUNA: Final = Shape(
    blocks=(Block(opening="<tool_call>", closing="</tool_call>", read=read_pairs_or_json),),
    thought=Thought(place=Place.AT_START),
)
