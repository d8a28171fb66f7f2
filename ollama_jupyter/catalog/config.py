"""The config layer: what a model says about itself besides its weights."""

from typing import Any

import msgspec

from ollama_jupyter.api.native import encode
from ollama_jupyter.errors import StoreError


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a config layer, in the order they are written.

    Attributes:
        model_format: "gguf"; anything else does not run here.
        model_family: architecture of the weights.
        model_families: the same and those of projectors; None when unset.
        model_type: number of parameters, such as "8.0B".
        file_type: quantization, such as "Q4_K_M".
        renderer: name of a built-in prompt renderer the model wants.
        parser: name of a built-in output parser the model wants.
        requires: least version of the reference that runs it.
        remote_host: set on a model that lives in the cloud.
        remote_model: its name there.
        capabilities: ones that can't be seen from the files.
        context_length: tokens; 0 when unset.
        embedding_length: size of a hidden state; 0 when unset.
        base_name: name of the model it was made from.
        draft: description of a draft model; kept, not used.
    """

    model_format: str = ""
    model_family: str = ""
    model_families: tuple[str, ...] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: tuple[str, ...] = ()
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: dict[str, Any] | None = None


# Written even when they are empty.
_ALWAYS = frozenset({"model_format", "model_family", "model_families", "model_type", "file_type"})


def decode_config(raw: bytes) -> ModelConfig:
    """The config that a layer holds; unknown fields are ignored, null means unset.

    Raises:
        StoreError: the layer holds no such object.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        known = {key: value for key, value in fields.items() if value is not None}
        return msgspec.convert(known, ModelConfig)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"the config of the model is damaged: {error}") from error


def encode_config(config: ModelConfig) -> bytes:
    """The layer's bytes; the platform at its end is constant, as the reference writes it."""
    fields = {
        field: value
        for field, value in msgspec.structs.asdict(config).items()
        if value or field in _ALWAYS
    }
    return encode({**fields, "architecture": "amd64", "os": "linux"}) + b"\n"
