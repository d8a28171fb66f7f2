"""Built-in parsers: replies of families whose format the reference wrote out as code.

A model names one in its configuration. A family without a parser here is left to what its
template shows of thinking and calls.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ollama_jupyter.inference.output.families import (
    cohere,
    deepseek,
    gemma,
    glm,
    mistral,
    pythonic,
    qwen,
)
from ollama_jupyter.inference.output.families.kinds import BuiltinParser, Parsed
from ollama_jupyter.inference.output.families.tagged import Shape, TaggedParser
from ollama_jupyter.inference.output.harmony import HarmonyParser

_SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "cogito": deepseek.COGITO,
        "cohere": cohere.COHERE,
        "deepseek3": deepseek.DEEPSEEK3,
        "functiongemma": gemma.FUNCTIONGEMMA,
        "gemma4": gemma.GEMMA4,
        "gemma4-no-thinking": gemma.GEMMA4_NO_THINKING,
        "glm-4.7": glm.GLM,
        "glm-ocr": glm.GLM_OCR,
        "laguna": glm.LAGUNA,
        "lfm2": pythonic.LFM2,
        "lfm2-thinking": pythonic.LFM2_THINKING,
        "ministral": mistral.MINISTRAL,
        "nemotron-3-nano": qwen.NEMOTRON,
        "nemotron-3.5-nano": qwen.NEMOTRON,
        "olmo3": pythonic.OLMO3,
        "olmo3-think": pythonic.OLMO3_THINK,
        "ornith": qwen.QWEN35,
        "passthrough": Shape(),
        "poolside-v1": glm.LAGUNA,
        "qwen3": qwen.QWEN3,
        "qwen3-coder": qwen.QWEN3_CODER,
        "qwen3-thinking": qwen.QWEN3_THINKING,
        "qwen3-vl-instruct": qwen.QWEN3,
        "qwen3-vl-thinking": qwen.QWEN3_THINKING,
        "qwen3.5": qwen.QWEN35,
    }
)

__all__ = ["BuiltinParser", "Parsed", "parser_named"]


def parser_named(name: str) -> BuiltinParser | None:
    """A parser for one reply, None when there is none of that name here."""
    if name == "harmony":
        return HarmonyParser()
    shape = _SHAPES.get(name)
    return TaggedParser(shape) if shape is not None else None
