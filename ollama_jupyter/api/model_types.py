"""What tags, ps and show say about models."""

from typing import Any

import msgspec

from ollama_jupyter.api.types import Message


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Family, size and quantization of a model; the first six fields are always written."""

    parent_model: str
    format: str
    family: str
    families: tuple[str, ...] | None
    parameter_size: str
    quantization_level: str
    context_length: int = 0
    embedding_length: int = 0


class ListedModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed model; `size` in bytes, shared blobs counted in full."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails
    capabilities: tuple[str, ...] = ()
    last_used_at: str = ""


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory; sizes in bytes, `context_length` in tokens of one slot."""

    name: str
    model: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int
    context_length: int
    running: int
    slots: int


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of /api/tags."""

    models: list[ListedModel]


class ProcessList(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of /api/ps."""

    models: list[LoadedModel]


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """Name, type and shape of one tensor."""

    name: str
    type: str
    shape: tuple[int, ...]


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message, without its images."""

    role: str
    content: str


class ShowResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Reply of /api/show."""

    license: str = ""
    modelfile: str = ""
    parameters: str = ""
    template: str = ""
    system: str = ""
    details: ModelDetails
    messages: tuple[ShownMessage, ...] = ()
    model_info: dict[str, Any]
    projector_info: dict[str, Any] = {}
    tensors: tuple[Tensor, ...] = ()
    capabilities: tuple[str, ...] = ()
    modified_at: str
    requires: str = ""


__all__ = [
    "ListedModel",
    "LoadedModel",
    "Message",
    "ModelDetails",
    "ModelList",
    "ProcessList",
    "ShowResponse",
    "ShownMessage",
    "Tensor",
]
