"""Built-in renderers: prompts of families whose template the reference wrote out as code.

A model names one in its configuration. Each follows the vendor's own published chat template; a
family without a renderer here is left to the template its model file carries.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ollama_jupyter.prompt.renderers.deepseek import render_cogito, render_deepseek
from ollama_jupyter.prompt.renderers.functiongemma import render_functiongemma
from ollama_jupyter.prompt.renderers.glm import render_glm
from ollama_jupyter.prompt.renderers.kinds import Renderer
from ollama_jupyter.prompt.renderers.qwen_coder import render_qwen_coder
from ollama_jupyter.prompt.renderers.qwen_vl import render_qwen_vl, render_qwen_vl_thinking

_RENDERERS: Final[Mapping[str, Renderer]] = MappingProxyType(
    {
        "cogito": render_cogito,
        "deepseek3.1": render_deepseek,
        "functiongemma": render_functiongemma,
        "glm-4.7": render_glm,
        "qwen3-coder": render_qwen_coder,
        "qwen3-vl-instruct": render_qwen_vl,
        "qwen3-vl-thinking": render_qwen_vl_thinking,
    }
)

__all__ = ["Renderer", "renderer_named"]


def renderer_named(name: str) -> Renderer | None:
    """The renderer a model's configuration names, None when there is none of that name here."""
    return _RENDERERS.get(name)
