"""A catalog on an empty store, and GGUF files of every kind a request can name."""

from pathlib import Path
from typing import Any

from ollama_jupyter.api.types import CreateRequest
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.models.create import create
from ollama_jupyter.store.store import Store
from tests.gguf.building import LLAMA, gguf

MODEL = gguf()
OTHER_MODEL = gguf({**LLAMA, "general.file_type": 0})
ADAPTER = gguf({"general.architecture": "llama", "general.type": "adapter"})
PROJECTOR = gguf({"general.architecture": "clip", "clip.has_vision_encoder": True})
SPLIT = gguf({**LLAMA, "split.count": 3})
CRASHER = gguf({**LLAMA, "llama.block_count": 0})


def make_catalog(root: Path) -> Catalog:
    """A catalog on a store of its own that offers nothing."""
    store = Store(root)
    store.layout.create_ingest()
    return Catalog(store, go_template=None, offered=False)


def upload(catalog: Catalog, data: bytes) -> str:
    """Put a blob; its digest as requests spell it."""
    return str(catalog.store.blobs.put(data))


def statuses(catalog: Catalog, **fields: Any) -> list[str]:  # noqa: ANN401  # of a CreateRequest
    """The statuses that a create request runs through."""
    return [record.status for record in create(catalog, CreateRequest(**fields))]


def create_base(catalog: Catalog, name: str = "base") -> None:
    """A model of the plain GGUF with a layer of every kind."""
    statuses(
        catalog,
        model=name,
        files={"model.gguf": upload(catalog, MODEL)},
        template="{{ .System }} {{ .Prompt }}",
        system="Be brief.",
        license=["MIT"],
        parameters={"num_ctx": 2048, "stop": ["x"]},
        requires="0.14.0",
    )
