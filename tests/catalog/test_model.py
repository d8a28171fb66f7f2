import pytest

from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.catalog.model import details
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.gguf.reader import Header


def of_file_type(number: int) -> Metadata:
    kv = {"general.file_type": number}
    return Metadata(Header(version=3, kv=kv, tensors=(), data_offset=0, file_size=0))


@pytest.mark.parametrize(
    ("in_config", "in_file", "told"),
    [
        ("Q4_K_M", 1, "Q4_K_M"),
        ("", 1, "F16"),
        ("unknown", 7, "Q8_0"),
        ("", None, ""),
        ("unknown", 999, "unknown"),
    ],
)
def test_quantization_comes_from_the_config_and_else_from_the_file(
    in_config: str, in_file: int | None, told: str
) -> None:
    metadata = None if in_file is None else of_file_type(in_file)
    assert details(ModelConfig(file_type=in_config), metadata).quantization_level == told


def test_details_name_the_parent_that_is_given() -> None:
    config = ModelConfig(model_format="gguf", model_family="llama", model_type="7B")
    shown = details(config, None, parent="base:latest")
    assert (shown.parent_model, shown.format, shown.family) == ("base:latest", "gguf", "llama")
    assert (shown.parameter_size, shown.families) == ("7B", None)
