"""DeepSeek 3 and Cogito: lists of calls between tags of unusual letters."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ollama_jupyter.api.types import Tool
from ollama_jupyter.inference.output.families.jsoncalls import decode_arguments
from ollama_jupyter.inference.output.families.kinds import FoundCall
from ollama_jupyter.inference.output.families.tagged import Block, Shape, Thought, read_nothing

_CALLS_BEGIN: Final = "<｜tool▁calls▁begin｜>"
_CALLS_END: Final = "<｜tool▁calls▁end｜>"
_SEPARATOR: Final = "<｜tool▁sep｜>"
_CALL: Final = re.compile(r"<｜tool▁call▁begin｜>(.*?)(?:<｜tool▁call▁end｜>|\Z)", re.DOTALL)
_FENCED: Final = re.compile(r"\s*([^\n]*)\n\s*```(?:json)?\s*(.*?)\s*(?:```)?\s*\Z", re.DOTALL)


def read_calls(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """The calls of a list, each `name, separator, JSON` or `function, separator, name, fence`.

    A call that cannot be read leaves the others as they are.
    """
    del tools
    for body in _CALL.findall(text):
        head, _, rest = body.partition(_SEPARATOR)
        fenced = _FENCED.fullmatch(rest)
        name, arguments = (fenced[1], fenced[2]) if fenced else (head, rest)
        try:
            yield name.strip(), decode_arguments(arguments)
        except (ValueError, RecursionError):
            continue


DEEPSEEK3: Final = Shape(
    thought=Thought(),
    blocks=(Block(opening=_CALLS_BEGIN, closing=_CALLS_END, read=read_calls, is_greedy=True),),
    marks=(
        "<｜tool▁outputs▁begin｜>",
        "<｜tool▁outputs▁end｜>",
        "<｜tool▁output▁begin｜>",
        "<｜tool▁output▁end｜>",
    ),
    keeps_space=True,
)
COGITO: Final = Shape(
    thought=Thought(),
    blocks=(
        Block(opening=_CALLS_BEGIN, closing=_CALLS_END, read=read_calls, is_token=True),
        Block(
            opening="<｜tool▁outputs▁begin｜>",
            closing="<｜tool▁outputs▁end｜>",
            read=read_nothing,
            is_token=True,
        ),
    ),
)
