from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.errors import InvalidModelFile
from ollama_jupyter.gguf.metadata import Metadata, check_runnable
from ollama_jupyter.gguf.reader import read_header
from tests.gguf.building import LLAMA, gguf

Make = Callable[..., Metadata]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make_metadata(changes: Mapping[str, Any] | None = None, **options: Any) -> Metadata:  # noqa: ANN401
        kv = {**LLAMA, **(changes or {})}
        path = tmp_path / "model.gguf"
        path.write_bytes(gguf({k: v for k, v in kv.items() if v is not None}, **options))
        return Metadata(read_header(path))

    return make_metadata


def test_metadata_answers_from_the_keys_of_the_architecture(make: Make) -> None:
    metadata = make()
    assert metadata.architecture == "llama"
    assert metadata.file_type == "F16"
    assert (metadata.context_length, metadata.embedding_length) == (128, 32)
    assert (metadata.block_count, metadata.head_count, metadata.head_count_kv) == (2, 4, 2)
    assert metadata.vocab_size == 4
    assert metadata.parameter_count == 32 * 4 + 32
    assert metadata.weights_bytes == 640
    assert metadata.chat_template is None
    assert not metadata.is_encoder


def test_missing_and_ill_typed_keys_read_as_unknown(make: Make) -> None:
    metadata = make(
        {
            "general.architecture": 7,
            "general.file_type": "F16",
            "llama.context_length": "many",
            "tokenizer.ggml.tokens": 1,
        }
    )
    assert metadata.architecture == ""
    assert metadata.file_type == "unknown"
    assert metadata.context_length == 0
    assert metadata.vocab_size == 0
    assert metadata.pooling_type is None


def test_unknown_file_type_number_is_called_unknown(make: Make) -> None:
    assert make({"general.file_type": 999}).file_type == "unknown"
    assert make({"general.file_type": 3}).file_type == "Q4_1"


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.pooling_type": 1},
        {"llama.attention.causal": False},
        {"general.architecture": "bert"},
    ],
)
def test_model_that_only_embeds_is_an_encoder(make: Make, changes: dict[str, Any]) -> None:
    assert make(changes).is_encoder


def test_kv_cache_grows_with_cells_and_shrinks_with_their_type(make: Make) -> None:
    metadata = make()
    # 2 layers × 2 heads × (8 + 8) × 2 bytes
    assert metadata.kv_cache_bytes(100, "f16") == 100 * 128
    assert metadata.kv_cache_bytes(100, "") == 100 * 128
    assert metadata.kv_cache_bytes(100, "nonsense") == 100 * 128
    assert metadata.kv_cache_bytes(100, "f32") == 100 * 256
    assert metadata.kv_cache_bytes(100, "q8_0") == 100 * 68


def test_kv_cache_follows_explicit_head_sizes_and_layers_without_heads(make: Make) -> None:
    metadata = make(
        {
            "llama.attention.key_length": 16,
            "llama.attention.value_length": 4,
            "llama.attention.head_count_kv": [3, 0],
        }
    )
    assert metadata.kv_cache_bytes(10, "f16") == 10 * 3 * (16 + 4) * 2
    assert metadata.head_count_kv == 3


def test_model_info_hides_name_and_template_and_long_values(make: Make) -> None:
    metadata = make({"tokenizer.chat_template": "{{ x }}", "x.none": []})
    info = metadata.model_info(verbose=False)
    assert "general.name" not in info
    assert "tokenizer.chat_template" not in info
    assert info["general.parameter_count"] == 160
    assert info["tokenizer.ggml.tokens"] is None
    assert info["x.none"] == []
    assert list(info) == sorted(info)
    verbose = metadata.model_info(verbose=True)
    assert verbose["tokenizer.ggml.tokens"] == ["<s>", "a", "b", "ä"]
    assert verbose["tokenizer.ggml.token_type"] == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"general.architecture": None}, "architecture"),
        ({"llama.block_count": 0}, "block_count"),
        ({"llama.block_count": None}, "0 layers"),
        ({"llama.block_count": 1 << 20}, "layers"),
        ({"llama.block_count": "two"}, "block_count"),
        ({"llama.block_count": True}, "block_count"),
        ({"llama.context_length": 0}, "context_length"),
        ({"llama.embedding_length": -1}, "embedding_length"),
        ({"llama.attention.head_count": -4}, "head_count"),
        ({"llama.attention.head_count": 0}, "heads"),
        ({"llama.attention.head_count": "4"}, "head_count"),
        ({"llama.attention.head_count": [4]}, "each layer"),
        ({"llama.attention.head_count_kv": [1.5, 1.5]}, "each layer"),
        ({"llama.attention.head_count": 1 << 20}, "heads"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "tokens"),
        ({"tokenizer.ggml.tokens": "abc"}, "tokens"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "4 tokens"),
        ({"tokenizer.ggml.scores": [1, 1, 1, 1]}, "scores"),
        ({"tokenizer.ggml.merges": [1]}, "merges"),
    ],
)
def test_model_that_would_crash_its_loader_is_refused(
    make: Make, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidModelFile, match=reason):
        check_runnable(make(changes))


def test_model_without_tensors_is_refused(make: Make) -> None:
    with pytest.raises(InvalidModelFile, match="no tensors"):
        check_runnable(make(tensors={}))


def test_recurrent_layers_may_have_no_heads(make: Make) -> None:
    check_runnable(make({"llama.attention.head_count_kv": [0, 2]}))
    check_runnable(make({"llama.attention.head_count": 0, "llama.ssm.state_size": 16}))
