import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf as reference
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_jupyter.errors import InvalidModelFile
from ollama_jupyter.gguf.metadata import Metadata, check_runnable
from ollama_jupyter.gguf.reader import ArrayValue, Header, read_header
from tests.gguf.building import ARRAY, LLAMA, STRING, gguf, string, tensor, value


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Header]:
    def read_bytes(content: bytes) -> Header:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return read_header(path)

    return read_bytes


def head(
    n_tensors: int = 0, n_keys: int = 0, rest: bytes = b"", version: int = 3, pad: int = 0
) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + rest + b"\0" * pad


# --- what a good file gives -----------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_header_has_all_values_and_tensors(read: Callable[[bytes], Header], version: int) -> None:
    header = read(gguf(version=version))
    assert header.version == version
    assert header.kv["general.architecture"] == "llama"
    assert header.kv["llama.block_count"] == 2
    assert [(t.name, t.shape, t.type, t.offset, t.size_bytes) for t in header.tensors] == [
        ("token_embd.weight", (32, 4), "F32", 0, 512),
        ("output_norm.weight", (32,), "F32", 512, 128),
    ]
    assert header.data_offset % 32 == 0
    assert header.file_size == header.data_offset + 640


def test_float32_reads_as_its_shortest_decimal(read: Callable[[bytes], Header]) -> None:
    assert read(gguf()).kv["llama.attention.layer_norm_rms_epsilon"] == 1e-5


def test_array_of_strings_is_read_only_when_asked(read: Callable[[bytes], Header]) -> None:
    tokens = read(gguf()).kv["tokenizer.ggml.tokens"]
    assert isinstance(tokens, ArrayValue)
    assert (tokens.type, tokens.count, tokens.kept) == ("string", 4, None)
    assert tokens.values() == ["<s>", "a", "b", "ä"]


def test_long_array_of_numbers_is_left_in_the_file(read: Callable[[bytes], Header]) -> None:
    array = read(gguf({"x.numbers": list(range(5000))}, {})).kv["x.numbers"]
    assert isinstance(array, ArrayValue)
    assert array.kept is None
    assert array.values() == list(range(5000))


def test_short_array_of_numbers_is_kept(read: Callable[[bytes], Header]) -> None:
    array = read(gguf({"x.numbers": [1.5, 2.5]}, {})).kv["x.numbers"]
    assert isinstance(array, ArrayValue)
    assert array.kept == (1.5, 2.5)
    assert array.values() == [1.5, 2.5]


def test_values_fail_when_the_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf())
    tokens = read_header(path).kv["tokenizer.ggml.tokens"]
    assert isinstance(tokens, ArrayValue)
    path.write_bytes(gguf() + b"more")
    with pytest.raises(InvalidModelFile, match="changed"):
        tokens.values()
    path.unlink()
    with pytest.raises(InvalidModelFile, match="cannot read"):
        tokens.values()


def test_strings_longer_than_a_window_are_crossed(read: Callable[[bytes], Header]) -> None:
    texts = ["x" * 300_000, "y", "z" * 300_000, ""]
    header = read(gguf({"x.texts": texts, "x.after": 7}, {}))
    array = header.kv["x.texts"]
    assert isinstance(array, ArrayValue)
    assert array.values() == texts
    assert header.kv["x.after"] == 7


def test_text_that_is_no_utf8_reads_with_replacements(read: Callable[[bytes], Header]) -> None:
    raw = struct.pack("<I", STRING) + string(b"a\xffb")
    assert read(gguf({"x.text": raw}, {})).kv["x.text"] == "a\ufffdb"


def test_header_equals_what_the_reference_writer_wrote(tmp_path: Path) -> None:
    path = tmp_path / "written.gguf"
    writer = reference.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_bool("llama.flag", True)
    writer.add_token_list(["a", "b"])
    writer.add_array("llama.floats", [0.1, 0.2])
    weights = np.ones((8, 64), np.float32)
    writer.add_tensor("w.f16", weights.astype(np.float16))
    quantized = reference.quants.quantize(weights, reference.GGMLQuantizationType.Q8_0)
    writer.add_tensor("w.q8", quantized, raw_dtype=reference.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(path)
    assert header.kv["llama.block_count"] == 3
    assert header.kv["llama.flag"] is True
    floats = header.kv["llama.floats"]
    assert isinstance(floats, ArrayValue)
    assert floats.values() == [0.1, 0.2]
    shapes = [(t.name, t.type, t.shape, t.size_bytes) for t in header.tensors]
    assert shapes == [("w.f16", "F16", (64, 8), 1024), ("w.q8", "Q8_0", (64, 8), 544)]


# --- what is refused ------------------------------------------------------------------------

HUGE = 2**63

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "end of the file"),
    "magic only": (b"GGUF", "end of the file"),
    "24 bytes": (b"GGUF" + b"\xff" * 20, "version"),
    "other magic": (b"GGML" + b"\0" * 60, "no GGUF"),
    "reversed magic": (b"FUGG" + b"\0" * 60, "no GGUF"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "version 1": (head(version=1, pad=64), "version 1"),
    "version 4": (head(version=4, pad=64), "version 4"),
    "2**63 tensors": (head(HUGE), "list of tensors"),
    "2**64-1 keys": (head(0, 2**64 - 1), "list of keys"),
    "key of 2**63 bytes": (head(0, 1, struct.pack("<Q", HUGE)), "a key"),
    "key beyond the end": (head(0, 1, struct.pack("<Q", 100) + b"abc"), "end of the file"),
    "key that is no UTF-8": (head(0, 1, string(b"\xff\xfe") + value(1)), "no UTF-8"),
    "key twice": (head(0, 2, (string("a") + value(1)) * 2), "twice"),
    "unknown value type": (head(0, 1, string("a") + struct.pack("<I", 13)), "unknown type 13"),
    "value of 2**63 bytes": (
        head(0, 1, string("a") + struct.pack("<IQ", STRING, HUGE)),
        "its length",
    ),
    "truth value of 2": (head(0, 1, string("a") + struct.pack("<IB", 7, 2)), "truth value"),
    "array of arrays": (
        head(0, 1, string("a") + struct.pack("<IIQ", ARRAY, ARRAY, 1), pad=64),
        "unknown type 9",
    ),
    "array of 2**63": (
        head(0, 1, string("a") + struct.pack("<IIQ", ARRAY, 4, HUGE)),
        "its length",
    ),
    "array beyond the end": (
        head(0, 1, string("a") + struct.pack("<IIQ", ARRAY, 4, 1 << 20)),
        "end of the file",
    ),
    "short array beyond the end": (
        head(0, 1, string("a") + struct.pack("<IIQ", ARRAY, 4, 100)),
        "end of the file",
    ),
    "strings beyond the end": (
        head(0, 1, string("a") + struct.pack("<IIQ", ARRAY, STRING, 1_000_000), pad=64),
        "end of the file",
    ),
    "a string of the array beyond the end": (
        head(0, 1, string("a") + struct.pack("<IIQQ", ARRAY, STRING, 1, 2**64 - 8)),
        "end of the file",
    ),
    "too many strings": (
        head(0, 1, string("a") + struct.pack("<IIQ", ARRAY, STRING, 3_000_000)),
        "too many",
    ),
    "alignment 0": (gguf({"general.alignment": 0}, {}), "alignment"),
    "alignment 24": (gguf({"general.alignment": 24}, {}), "alignment"),
    "alignment as text": (gguf({"general.alignment": "32"}, {}), "alignment"),
    "five dimensions": (head(1, 0, tensor("t", (1,) * 5, 0), pad=64), "5 dimensions"),
    "2**32-1 dimensions": (
        head(1, 0, string("t") + struct.pack("<I", 2**32 - 1), pad=64),
        "dimensions",
    ),
    "zero in the shape": (head(1, 0, tensor("t", (0, 4), 0), pad=64), "impossible shape"),
    "shape that overflows": (
        head(1, 0, tensor("t", (2**40, 2**40), 0), pad=64),
        "impossible shape",
    ),
    "shape of 2**64-1": (head(1, 0, tensor("t", (2**64 - 1,), 0), pad=64), "its length"),
    "unknown tensor type": (head(1, 0, tensor("t", (4,), 0, kind=4), pad=64), "unknown type 4"),
    "rows that make no blocks": (head(1, 0, tensor("t", (33,), 0, kind=8), pad=64), "blocks"),
    "long tensor name": (head(1, 0, tensor("t" * 64, (4,), 0), pad=64), "name of a tensor"),
    "tensor twice": (
        head(2, 0, tensor("t", (8,), 0) + tensor("t", (8,), 32), pad=200),
        "twice",
    ),
    "tensors that overlap": (
        head(2, 0, tensor("a", (64,), 0) + tensor("b", (8,), 32), pad=600),
        "instead of 256",
    ),
    "gap between tensors": (
        head(2, 0, tensor("a", (8,), 0) + tensor("b", (8,), 64), pad=600),
        "instead of 32",
    ),
    "unaligned tensor": (head(1, 0, tensor("a", (8,), 4), pad=64), "offset 4"),
    "offset beyond the file": (head(1, 0, tensor("a", (8,), 2**62), pad=64), "instead of 0"),
    "tensor beyond the end": (head(1, 0, tensor("a", (4096,), 0), pad=64), "but the file has"),
    "no room for any tensor": (head(1, 0, tensor("a", (8,), 0)), "but the file has"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_with_a_reason(read: Callable[[bytes], Header], name: str) -> None:
    content, reason = BAD[name]
    started = time.monotonic()
    with pytest.raises(InvalidModelFile, match=reason):
        read(content)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("length", range(0, len(gguf()), 7))
def test_cut_file_is_refused_wherever_it_is_cut(
    read: Callable[[bytes], Header], length: int
) -> None:
    with pytest.raises(InvalidModelFile):
        read(gguf()[:length])


def test_missing_file_folder_and_pipe_are_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidModelFile):
            read_header(path)


GOOD = gguf()
_NUMBERS = st.sampled_from([0, 1, 2, 7, 8, 9, 31, 255, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1])


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good file with up to four places overwritten, cut or doubled."""
    content = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["bytes", "number", "cut", "double"])):
            case "bytes":
                piece: Any = draw(st.binary(min_size=1, max_size=8))
                content[at : at + len(piece)] = piece
            case "number":
                content[at : at + 8] = struct.pack("<Q", draw(_NUMBERS))
            case "cut":
                del content[at : at + draw(st.integers(1, 64))]
            case _:
                content[at:at] = content[at : at + draw(st.integers(1, 64))]
    return bytes(content)


@settings(
    max_examples=400, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mutants())
def test_mutant_is_read_or_refused_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mutant.gguf"
    path.write_bytes(content)
    try:
        metadata = Metadata(read_header(path))
        metadata.model_info(verbose=True)
        check_runnable(metadata)
    except InvalidModelFile:
        return
    assert metadata.weights_bytes <= len(content)
    assert metadata.kv_cache_bytes(1024, "f16") >= 0


def test_a_good_model_is_runnable(read: Callable[[bytes], Header]) -> None:
    check_runnable(Metadata(read(gguf(LLAMA))))
