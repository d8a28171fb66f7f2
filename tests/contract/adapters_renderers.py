"""The built-in renderers, for the shared cases."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ollama_jupyter.api.types import Tool
from ollama_jupyter.prompt.renderers import renderer_named
from tests.contract.adapters_prompt import native_messages


def _render(given: Mapping[str, Any]) -> dict[str, Any]:
    renderer = renderer_named(given["renderer"])
    if renderer is None:
        raise ValueError(f"no renderer is called {given['renderer']!r}")
    tools = msgspec.convert(given["tools"] or [], list[Tool])
    return {"prompt": renderer(native_messages(given), tools, given["think"], given["image_tags"])}


ADAPTERS: dict[tuple[str, str], Callable[[Any], Any]] = {("renderers", "render"): _render}
