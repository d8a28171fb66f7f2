"""What a renderer is: the function that writes one family's prompt."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ollama_jupyter.api.types import Message, Think, Tool

Renderer: TypeAlias = Callable[[Sequence[Message], Sequence[Tool], Think | None, bool], str]
"""From messages, offered tools, the wish to think (None: not said) and `image_tags` to a prompt.

With `image_tags` an image shows as `[img-n]`, n counting from 0 over all messages; without, as the
placeholder its vendor chose.
"""
