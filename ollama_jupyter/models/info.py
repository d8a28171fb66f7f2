"""The `info` of a create request: what it says about the model besides its files."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ollama_jupyter.api.types import JSON
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.errors import BadRequest

_TEXTS: Final = {
    "model_family": "model_family",
    "base_name": "base_name",
    "quantization_level": "file_type",
    "parameter_size": "model_type",
}
_COUNTS: Final = ("context_length", "embedding_length")


def apply_info(config: ModelConfig, info: Mapping[str, JSON]) -> ModelConfig:
    """The config with what `info` says; fields it does not know are ignored.

    Raises:
        BadRequest: a field is of another type than it must be.
    """
    changes: dict[str, Any] = {}
    for key, field in _TEXTS.items():
        if key in info:
            if not isinstance(info[key], str):
                raise BadRequest(f'info field "{key}" must be a string')
            changes[field] = info[key]
    for key in _COUNTS:
        if key in info:
            changes[key] = _count(key, info[key])
    if "capabilities" in info:
        changes["capabilities"] = _capabilities(config.capabilities, info["capabilities"])
    return msgspec.structs.replace(config, **changes)


def _count(key: str, value: JSON) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f'info field "{key}" must be a number')
    if not 0 <= value < 2**63 or value != int(value):
        raise BadRequest(f'info field "{key}" must be a non-negative integer')
    return int(value)


def _capabilities(present: tuple[str, ...], value: JSON) -> tuple[str, ...]:
    """Those present and the new ones after them, none twice."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest('info field "capabilities" must be a list of strings')
    return tuple(dict.fromkeys((*present, *value)))
