"""Go's text/template, as far as prompt templates go; knows nothing of messages or models."""

from ollama_jupyter.prompt.gotemplate.evaluate import Budget
from ollama_jupyter.prompt.gotemplate.template import Template

__all__ = ["Budget", "Template"]
