"""Adapters for the suite about capabilities and the choice between templates."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ollama_jupyter.catalog.capabilities import (
    Parts,
    capabilities,
    check_capabilities,
    prefers_chat_template,
    uses_chat_template,
)
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.config import bool_setting
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.gguf.reader import Header
from ollama_jupyter.names import ModelName
from ollama_jupyter.prompt.gotemplate import Template


class _Has:
    """Equal to every list of names that are all among these, or all not."""

    def __init__(self, names: tuple[str, ...], *, present: bool) -> None:
        self._names = names
        self._present = present

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list):
            return NotImplemented
        return all((name in self._names) is self._present for name in other)

    def __hash__(self) -> int:
        return hash((self._names, self._present))


def _metadata(kv: Mapping[str, Any]) -> Metadata:
    return Metadata(Header(version=3, kv=kv, tensors=(), data_offset=0, file_size=0))


def _parts(given: Mapping[str, Any]) -> Parts:
    kv = given.get("model_gguf_kv")
    text = given.get("go_template")
    return Parts(
        config=msgspec.convert(given.get("config", {}), ModelConfig),
        weights=None if kv is None else _metadata(kv),
        projectors=tuple(_metadata(entry) for entry in given.get("projector_gguf_kv", ())),
        template=None if text is None else Template.parse(text),
        go_template=bool_setting(given.get("OLLAMA_GO_TEMPLATE", "")),
    )


def _capabilities(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"capabilities_any_order": list(capabilities(_parts(given)))}


def _check(given: Mapping[str, Any]) -> dict[str, Any]:
    full_name = ModelName(model="test").full()
    check_capabilities(full_name, capabilities(_parts(given)), given["want"])
    return {"ok": True}


def _choice(given: Mapping[str, Any]) -> dict[str, Any]:
    chat = given["chat_template"]
    kv = {"general.architecture": "llama"}
    if chat is not None:
        kv["tokenizer.chat_template"] = chat
    parts = _parts({**given, "model_gguf_kv": kv})
    able = capabilities(parts)
    return {
        "prefer_chat_template": prefers_chat_template(parts),
        "uses": "gguf_chat_template" if uses_chat_template(parts) else "go_template",
        "has": _Has(able, present=True),
        "lacks": _Has(able, present=False),
        "has_chat_template": bool(parts.chat_template),
        "has_go_template": parts.template is not None,
    }


ADAPTERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("capabilities", "capabilities"): _capabilities,
    ("capabilities", "check"): _check,
    ("capabilities", "template-choice"): _choice,
}
