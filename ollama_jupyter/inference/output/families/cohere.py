"""Cohere's Command: plan, actions and answer, each between tags of its own."""

from typing import Final

from ollama_jupyter.inference.output.families.jsoncalls import read_json_calls
from ollama_jupyter.inference.output.families.tagged import Block, Place, Shape, Thought

COHERE: Final = Shape(
    blocks=(Block(opening="<|START_ACTION|>", closing="<|END_ACTION|>", read=read_json_calls),),
    thought=Thought(opening="<|START_THINKING|>", closing="<|END_THINKING|>", place=Place.ANYWHERE),
    marks=("<|START_TEXT|>", "<|END_TEXT|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)
