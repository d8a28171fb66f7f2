"""A resolved model: everything a name stands for, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ollama_jupyter.api.model_types import ModelDetails
from ollama_jupyter.api.types import JSON, Message
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store.manifests import MODEL, StoredManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model that can be run. It never changes: what is stored anew is resolved anew.

    Attributes:
        name: as spelled in the store.
        manifest: its manifest.
        weights: digest of the GGUF.
        weights_path: the GGUF's file; it stays readable for who has opened it, even when the
            model is deleted.
        adapters: files of LoRA adapters, in order.
        projectors: files of projectors, in order.
        config: the config layer.
        template: text of the Go template layer; "" when there is none.
        chat_template: the GGUF's own Jinja template; "" when there is none.
        uses_chat_template: whether prompts come from `chat_template`.
        system: the system text; "" when there is none.
        parameters: the options the model brings.
        messages: the conversation it starts with.
        licenses: texts of its licenses.
        metadata: what the GGUF's header says.
        projector_metadata: the same for each projector.
        capabilities: what it can do, in the order the reference lists it.
    """

    name: ModelName
    manifest: StoredManifest
    weights: Digest
    weights_path: Path
    adapters: tuple[Path, ...]
    projectors: tuple[Path, ...]
    config: ModelConfig
    template: str
    chat_template: str
    uses_chat_template: bool
    system: str
    parameters: Mapping[str, JSON]
    messages: tuple[Message, ...]
    licenses: tuple[str, ...]
    metadata: Metadata
    projector_metadata: tuple[Metadata, ...]
    capabilities: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        """The model's id: the digest of its manifest."""
        return self.manifest.digest

    @property
    def size(self) -> int:
        """Bytes of all its blobs."""
        return self.manifest.size

    @property
    def details(self) -> ModelDetails:
        """Family, size and quantization, without context and embedding length."""
        return details(self.config, self.metadata, parent=self._parent)

    @property
    def _parent(self) -> str:
        layers = self.manifest.manifest.layers
        return next((layer.source for layer in layers if layer.media_type == MODEL), "")

    def called(self, manifest: StoredManifest) -> "Model":
        """The same model as another name has it, whose manifest has the same bytes."""
        return replace(self, name=manifest.name, manifest=manifest)


def details(config: ModelConfig, metadata: Metadata | None, *, parent: str = "") -> ModelDetails:
    """What tags, ps and show say about a model's family and size.

    Args:
        config: the config layer.
        metadata: of the weights; None when they can't be read.
        parent: the model or file the weights came from.
    """
    file_type = config.file_type
    if file_type in ("", "unknown") and metadata is not None:
        file_type = metadata.file_type
    return ModelDetails(
        parent_model=parent,
        format=config.model_format,
        family=config.model_family,
        families=config.model_families,
        parameter_size=config.model_type,
        quantization_level=file_type,
    )
