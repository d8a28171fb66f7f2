"""Resolved models as the catalog gives them, without a store behind them."""

import hashlib
from pathlib import Path

from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.gguf.reader import Header, TensorInfo
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store.manifests import CONFIG, Layer, Manifest, StoredManifest


def metadata_for(
    *, weights_bytes: int = 1 << 20, context_length: int = 8192, architecture: str = "llama"
) -> Metadata:
    """A header of a small model: one layer, one head, 64 wide, so a cell takes 256 bytes."""
    return Metadata(
        Header(
            version=3,
            kv={
                "general.architecture": architecture,
                f"{architecture}.context_length": context_length,
                f"{architecture}.embedding_length": 64,
                f"{architecture}.block_count": 1,
                f"{architecture}.attention.head_count": 1,
                f"{architecture}.attention.head_count_kv": 1,
                f"{architecture}.vocab_size": 1000,
            },
            tensors=(
                TensorInfo(
                    name="t",
                    shape=(weights_bytes // 4,),
                    type="F32",
                    offset=0,
                    size_bytes=weights_bytes,
                ),
            ),
            data_offset=0,
            file_size=weights_bytes,
        )
    )


def model_for(weights_path: Path, *, metadata: Metadata | None = None) -> Model:
    """A model of these weights, named and identified by their path."""
    digest = Digest.parse(f"sha256:{hashlib.sha256(bytes(weights_path)).hexdigest()}")
    name = ModelName.parse(weights_path.name)
    manifest = Manifest(config=Layer(media_type=CONFIG, digest=digest, size=1), layers=())
    return Model(
        name=name,
        manifest=StoredManifest(
            name=name, manifest=manifest, raw=b"{}", digest=digest, modified_ns=0
        ),
        weights=digest,
        weights_path=weights_path,
        adapters=(),
        projectors=(),
        config=ModelConfig(),
        template="",
        chat_template="",
        uses_chat_template=False,
        system="",
        parameters={},
        messages=(),
        licenses=(),
        metadata=metadata or metadata_for(),
        projector_metadata=(),
        capabilities=("completion",),
    )
