import pytest

from ollama_jupyter.api.types import JSON
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.models.info import apply_info


def test_info_fills_the_config() -> None:
    config = apply_info(
        ModelConfig(capabilities=("tools",)),
        {
            "model_family": "llama",
            "base_name": "b",
            "quantization_level": "Q8_0",
            "parameter_size": "7B",
            "context_length": 4096,
            "embedding_length": 64.0,
            "capabilities": ["vision", "tools"],
            "unknown": [],
        },
    )
    assert config == ModelConfig(
        model_family="llama",
        base_name="b",
        file_type="Q8_0",
        model_type="7B",
        context_length=4096,
        embedding_length=64,
        capabilities=("tools", "vision"),
    )


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("model_family", 7, 'info field "model_family" must be a string'),
        ("parameter_size", None, 'info field "parameter_size" must be a string'),
        ("context_length", "4", 'info field "context_length" must be a number'),
        ("context_length", True, 'info field "context_length" must be a number'),
        ("embedding_length", -1, 'info field "embedding_length" must be a non-negative integer'),
        ("embedding_length", 0.5, 'info field "embedding_length" must be a non-negative integer'),
        ("embedding_length", 1e300, "must be a non-negative integer"),
        ("capabilities", "tools", 'info field "capabilities" must be a list of strings'),
        ("capabilities", [1], 'info field "capabilities" must be a list of strings'),
    ],
)
def test_info_of_a_wrong_type_is_refused(key: str, value: JSON, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        apply_info(ModelConfig(), {key: value})
