"""The header of a GGUF file, every count, size and offset checked against the file.

    magic version n_tensors n_kv | key type value … | name n_dims dims type offset … | pad | data

llama.cpp trusts much of what it reads, so a file reaches it only when this reader found nothing
wrong. The checks are at least llama.cpp's own (gguf.cpp). Arrays are passed over, not kept: a
vocabulary has hundreds of thousands of strings and hardly anybody asks for them.
"""

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from ollama_jupyter.errors import InvalidModelFile
from ollama_jupyter.gguf.cursor import Cursor
from ollama_jupyter.gguf.types import (
    ARRAY,
    SCALAR_CODES,
    STRING,
    TENSOR_TYPES,
    UINT32,
    UINT64,
    VALUE_TYPE_NAMES,
)

MAGIC: Final = b"GGUF"

_LIMIT_KEYS: Final = 1 << 16
_LIMIT_TENSORS: Final = 1 << 16
_LIMIT_KEY_BYTES: Final = 1 << 16
_LIMIT_STRING_BYTES: Final = 8 << 20
_LIMIT_TENSOR_NAME_BYTES: Final = 63
_LIMIT_DIMENSIONS: Final = 4
_LIMIT_ELEMENTS: Final = 2**63 - 1
# The largest vocabularies have a quarter of a million tokens and twice as many merges.
_LIMIT_STRINGS: Final = 2_000_000
_LIMIT_NUMBERS: Final = 1 << 24
# Per-layer settings are arrays this short; they are kept.
_SMALL_COUNT: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayValue:
    """An array in the header, left in the file unless it is short.

    Attributes:
        type: the type of its elements as the format names it, such as "string" or "u32".
        count: how many there are.
        kept: the elements of a short array of numbers; None for all others.
    """

    type: str
    count: int
    kept: tuple[int | float | bool, ...] | None
    _path: Path
    _offset: int
    _file_size: int

    def values(self) -> list[str] | list[int | float | bool]:
        """All elements, read from the file again when they were not kept.

        Raises:
            InvalidModelFile: the file is gone or has changed.
        """
        if self.kept is not None:
            return list(self.kept)
        kind = next(number for number, name in VALUE_TYPE_NAMES.items() if name == self.type)
        with _OpenFile(self._path) as (descriptor, size):
            if size != self._file_size:
                raise InvalidModelFile("the file has changed since its header was read")
            cursor = Cursor(descriptor, size, self._offset)
            if kind == STRING:
                return [_text(cursor.string(size, self.type)) for _ in range(self.count)]
            return [cursor.scalar(kind, self.type) for _ in range(self.count)]


Value: TypeAlias = int | float | bool | str | ArrayValue


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Where one tensor lies: `offset` from the start of the data, sizes in bytes.

    `shape` is in the format's order, the fastest dimension first.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before the tensor data; `data_offset` and `file_size` in bytes."""

    version: int
    kv: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    file_size: int


class _OpenFile:
    """An open regular file and its size, closed at the end of the block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> tuple[int, int]:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            return self._descriptor, os.fstat(self._descriptor).st_size
        except OSError as error:
            raise InvalidModelFile(f"cannot read the model file: {error.strerror}") from error

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def read_header(path: Path) -> Header:
    """The checked header of a file; the file is closed again.

    Raises:
        InvalidModelFile: it is no GGUF file, or not one llama.cpp should be shown.
    """
    with _OpenFile(path) as (descriptor, file_size):
        try:
            return _Reader(path, Cursor(descriptor, file_size), file_size).read()
        except OSError as error:
            raise InvalidModelFile(f"cannot read the model file: {error.strerror}") from error


class _Reader:
    def __init__(self, path: Path, cursor: Cursor, file_size: int) -> None:
        self._path = path
        self._cursor = cursor
        self._file_size = file_size
        self._strings_left = _LIMIT_STRINGS

    def read(self) -> Header:
        version = self._version()
        n_tensors = self._cursor.length(_LIMIT_TENSORS, "the list of tensors")
        n_keys = self._cursor.length(_LIMIT_KEYS, "the list of keys")
        kv: dict[str, Value] = {}
        for _ in range(n_keys):
            key, value = self._pair()
            if key in kv:
                raise InvalidModelFile(f"key {key!r} occurs twice")
            kv[key] = value
        alignment = _alignment(kv)
        tensors = self._tensors(n_tensors, alignment)
        data_offset = _padded(self._cursor.position, alignment)
        if tensors:
            end = data_offset + tensors[-1].offset + tensors[-1].size_bytes
            if end > self._file_size:
                raise InvalidModelFile(
                    f"tensor {tensors[-1].name!r} ends at byte {end}, but the file has"
                    f" {self._file_size}"
                )
        return Header(
            version=version,
            kv=kv,
            tensors=tensors,
            data_offset=data_offset,
            file_size=self._file_size,
        )

    def _version(self) -> int:
        magic = self._cursor.take(4, "the magic")
        if magic != MAGIC:
            raise InvalidModelFile("the file is no GGUF file: it does not begin with GGUF")
        version = int(self._cursor.scalar(UINT32, "the version"))
        if version and version & 0xFFFF == 0:
            raise InvalidModelFile("the file is a big-endian GGUF file, which nothing here runs")
        if version not in (2, 3):
            raise InvalidModelFile(f"GGUF version {version} is not supported; 2 and 3 are")
        return version

    def _pair(self) -> tuple[str, Value]:
        raw_key = self._cursor.string(_LIMIT_KEY_BYTES, "a key")
        try:
            key = raw_key.decode()
        except UnicodeDecodeError as error:
            raise InvalidModelFile(f"key {raw_key[:40]!r} is no UTF-8") from error
        what = f"the value of {key[:80]!r}"
        kind = int(self._cursor.scalar(UINT32, what))
        if kind in SCALAR_CODES:
            return key, self._cursor.scalar(kind, what)
        if kind == STRING:
            return key, _text(self._cursor.string(_LIMIT_STRING_BYTES, what))
        if kind == ARRAY:
            return key, self._array(what)
        raise InvalidModelFile(f"{what} has the unknown type {kind}")

    def _array(self, what: str) -> ArrayValue:
        kind = int(self._cursor.scalar(UINT32, what))
        if kind not in VALUE_TYPE_NAMES or kind == ARRAY:
            raise InvalidModelFile(f"{what} is an array of the unknown type {kind}")
        count = self._cursor.length(_LIMIT_NUMBERS, what)
        offset = self._cursor.position
        kept: tuple[int | float | bool, ...] | None = None
        if kind == STRING:
            self._strings_left -= count
            if self._strings_left < 0:
                raise InvalidModelFile(f"{what} has too many strings")
            self._cursor.skip_strings(count, what)
        elif count <= _SMALL_COUNT:
            kept = tuple(self._cursor.scalar(kind, what) for _ in range(count))
        else:
            self._cursor.skip(count * struct.calcsize("<" + SCALAR_CODES[kind]), what)
        return ArrayValue(
            type=VALUE_TYPE_NAMES[kind],
            count=count,
            kept=kept,
            _path=self._path,
            _offset=offset,
            _file_size=self._file_size,
        )

    def _tensors(self, count: int, alignment: int) -> tuple[TensorInfo, ...]:
        tensors: list[TensorInfo] = []
        names: set[str] = set()
        end = 0
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in names:
                raise InvalidModelFile(f"tensor {tensor.name!r} occurs twice")
            # llama.cpp wants the tensors one after the other without a gap or an overlap.
            if tensor.offset != end:
                raise InvalidModelFile(
                    f"tensor {tensor.name!r} lies at offset {tensor.offset} instead of {end}"
                )
            end = _padded(end + tensor.size_bytes, alignment)
            names.add(tensor.name)
            tensors.append(tensor)
        return tuple(tensors)

    def _tensor(self) -> TensorInfo:
        cursor = self._cursor
        name = _text(cursor.string(_LIMIT_TENSOR_NAME_BYTES, "the name of a tensor"))
        what = f"tensor {name!r}"
        n_dimensions = int(cursor.scalar(UINT32, what))
        if n_dimensions > _LIMIT_DIMENSIONS:
            raise InvalidModelFile(f"{what} has {n_dimensions} dimensions; at most 4 are allowed")
        shape = tuple(cursor.length(_LIMIT_ELEMENTS, what) for _ in range(n_dimensions))
        number = int(cursor.scalar(UINT32, what))
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            raise InvalidModelFile(f"{what} has the unknown type {number}")
        elements = math.prod(shape)
        if not 0 < elements <= _LIMIT_ELEMENTS:
            raise InvalidModelFile(f"{what} has an impossible shape {list(shape)}")
        if (shape[0] if shape else 1) % kind.block_elements:
            raise InvalidModelFile(
                f"{what} has rows of {shape[0] if shape else 1} elements, which {kind.name} does"
                f" not divide into blocks of {kind.block_elements}"
            )
        return TensorInfo(
            name=name,
            shape=shape,
            type=kind.name,
            offset=int(cursor.scalar(UINT64, what)),
            size_bytes=elements // kind.block_elements * kind.block_bytes,
        )


def _alignment(kv: Mapping[str, Value]) -> int:
    alignment = kv.get("general.alignment", 32)
    is_number = isinstance(alignment, int) and not isinstance(alignment, bool)
    if not is_number or not isinstance(alignment, int) or not _is_power_of_two(alignment):
        raise InvalidModelFile("general.alignment is no power of two")
    return alignment


def _is_power_of_two(number: int) -> bool:
    return 0 < number <= 1 << 30 and number & (number - 1) == 0


def _padded(position: int, alignment: int) -> int:
    return (position + alignment - 1) // alignment * alignment


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
