"""A checked position in an open file: nothing is read past its end, and nothing twice its size.

Reads go through a window with `pread`, not through a memory map: a file that shrinks under a map
kills the process that looks at it.
"""

import os
import struct
from typing import Final

from ollama_jupyter.api.options import shortest_float32
from ollama_jupyter.errors import InvalidModelFile
from ollama_jupyter.gguf.types import BOOL, FLOAT32, SCALAR_CODES

WINDOW_BYTES: Final = 1 << 18

_LENGTH: Final = struct.Struct("<Q")
_SCALARS: Final = {kind: struct.Struct("<" + code) for kind, code in SCALAR_CODES.items()}


class Cursor:
    """Reads little-endian values one after the other; the descriptor stays the caller's."""

    def __init__(self, descriptor: int, file_size: int, position: int = 0) -> None:
        self._descriptor = descriptor
        self._file_size = file_size
        self._window = b""
        self._start = position  # of the window in the file
        self._at = 0  # in the window

    @property
    def position(self) -> int:
        """Offset in the file of what is read next."""
        return self._start + self._at

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; the caller has bounded the count.

        Raises:
            InvalidModelFile: the file ends before; the message names `what`.
        """
        if self._at + count > len(self._window):
            self._refill(count, what)
        data = self._window[self._at : self._at + count]
        self._at += count
        return data

    def scalar(self, kind: int, what: str) -> int | float | bool:
        """The next value of a scalar type (a key of SCALAR_CODES)."""
        form = _SCALARS[kind]
        data = self.take(form.size, what)
        if kind == BOOL and data not in (b"\0", b"\1"):
            raise InvalidModelFile(f"{what} is a truth value of {data[0]}")
        value: int | float | bool = form.unpack(data)[0]
        return float(shortest_float32(value)) if kind == FLOAT32 else value

    def length(self, limit: int, what: str) -> int:
        """The next unsigned 64-bit count, at most `limit`."""
        count: int = _LENGTH.unpack(self.take(8, what))[0]
        if count > limit:
            raise InvalidModelFile(f"{what} has {count} as its length; at most {limit} is allowed")
        return count

    def string(self, limit_bytes: int, what: str) -> bytes:
        """The next string's bytes, at most `limit_bytes` of them."""
        return self.take(self.length(limit_bytes, what), what)

    def skip(self, count: int, what: str) -> None:
        """Pass over bytes without reading them."""
        if count > self._file_size - self.position:
            raise InvalidModelFile(f"{what} goes beyond the end of the file")
        self._at += count

    def skip_strings(self, count: int, what: str) -> None:
        """Pass over `count` strings; only their lengths are read."""
        unpack = _LENGTH.unpack_from
        for _ in range(count):
            if self._at + 8 > len(self._window):
                self._refill(8, what)
            size = unpack(self._window, self._at)[0]
            self._at += 8 + size
            if self._start + self._at > self._file_size:
                raise InvalidModelFile(f"{what} goes beyond the end of the file")

    def _refill(self, count: int, what: str) -> None:
        """Move the window so that it starts here and holds at least `count` bytes."""
        if count > self._file_size - self.position:
            raise InvalidModelFile(f"{what} goes beyond the end of the file")
        self._start += self._at
        self._at = 0
        self._window = os.pread(self._descriptor, max(count, WINDOW_BYTES), self._start)
        if len(self._window) < count:
            raise InvalidModelFile(f"{what} can't be read: the file became shorter")
