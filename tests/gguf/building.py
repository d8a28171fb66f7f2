"""GGUF files from scratch, byte by byte, so that any of them can be wrong."""

import struct
from collections.abc import Mapping
from typing import Any

STRING, ARRAY = 8, 9
_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 1,
    "llama.block_count": 2,
    "llama.context_length": 128,
    "llama.embedding_length": 32,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["<s>", "a", "b", "ä"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1],
}
"""The keys of a model that nothing is wrong with."""

TENSORS: dict[str, tuple[int, ...]] = {"token_embd.weight": (32, 4), "output_norm.weight": (32,)}


def string(text: str | bytes) -> bytes:
    """A length and its bytes."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(content: Any) -> bytes:  # noqa: ANN401  # whatever a key can hold
    """A type and a value; integers are u32 (i32 when negative), floats f32."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, list):
        kind = _kind(content[0]) if content else 4
        return struct.pack("<IIQ", ARRAY, kind, len(content)) + b"".join(
            _scalar(kind, entry) for entry in content
        )
    kind = _kind(content)
    return struct.pack("<I", kind) + _scalar(kind, content)


def _kind(content: Any) -> int:  # noqa: ANN401
    if isinstance(content, str):
        return STRING
    if isinstance(content, bool):
        return 7
    if isinstance(content, float):
        return 6
    return 4 if content >= 0 else 5


def _scalar(kind: int, content: Any) -> bytes:  # noqa: ANN401
    return string(content) if kind == STRING else struct.pack("<" + _CODES[kind], content)


def tensor(name: str, shape: tuple[int, ...], offset: int, kind: int = 0) -> bytes:
    """The description of one tensor, F32 unless told otherwise."""
    dimensions = b"".join(struct.pack("<Q", size) for size in shape)
    return (
        string(name) + struct.pack("<I", len(shape)) + dimensions + struct.pack("<IQ", kind, offset)
    )


def gguf(
    kv: Mapping[str, Any] | None = None,
    tensors: Mapping[str, tuple[int, ...]] | None = None,
    *,
    version: int = 3,
    alignment: int = 32,
    filler: bytes = b"\0",
) -> bytes:
    """A whole file; LLAMA and TENSORS unless told otherwise. `filler` is what tensors hold."""
    kv = LLAMA if kv is None else kv
    tensors = TENSORS if tensors is None else tensors
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(kv))
    head += b"".join(string(key) + value(content) for key, content in kv.items())
    data = b""
    for name, shape in tensors.items():
        head += tensor(name, shape, len(data))
        elements = 1
        for size in shape:
            elements *= size
        data += _padded((filler * (4 * elements))[: 4 * elements], alignment)
    return _padded(head, alignment) + data


def _padded(data: bytes, alignment: int) -> bytes:
    return data + b"\0" * (-len(data) % alignment)
