import pytest

from ollama_jupyter.catalog.config import ModelConfig, decode_config, encode_config
from ollama_jupyter.errors import StoreError


def test_config_is_written_in_the_order_of_the_reference() -> None:
    config = ModelConfig(
        model_format="gguf",
        model_family="llama",
        model_families=("llama",),
        model_type="8.0B",
        file_type="Q4_K_M",
        requires="0.14.0",
    )
    assert encode_config(config) == (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
        b'"model_type":"8.0B","file_type":"Q4_K_M","requires":"0.14.0",'
        b'"architecture":"amd64","os":"linux"}\n'
    )


def test_empty_config_writes_its_first_five_fields() -> None:
    assert encode_config(ModelConfig()) == (
        b'{"model_format":"","model_family":"","model_families":null,"model_type":"",'
        b'"file_type":"","architecture":"amd64","os":"linux"}\n'
    )


def test_config_reads_back_as_written() -> None:
    config = ModelConfig(
        model_format="gguf",
        renderer="r",
        parser="p",
        capabilities=("vision",),
        context_length=4096,
        embedding_length=64,
        base_name="base",
        draft={"model_format": "gguf"},
    )
    assert decode_config(encode_config(config)) == config


def test_pulled_config_reads_with_unknown_and_null_fields() -> None:
    raw = (
        b'{"model_format":"gguf","model_families":null,"capabilities":null,"parser":null,'
        b'"rootfs":{"type":"layers","diff_ids":["sha256:00"]},"os":"linux"}'
    )
    assert decode_config(raw) == ModelConfig(model_format="gguf")


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"model_format":3}', b"\xff", b"{" * 100_000])
def test_damaged_config_is_refused(raw: bytes) -> None:
    with pytest.raises(StoreError, match="config of the model is damaged"):
        decode_config(raw)
