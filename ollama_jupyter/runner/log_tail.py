"""The end of what a runner writes on its standard error, and the line that says why it died."""

import asyncio
import logging
from typing import Final

logger = logging.getLogger(__name__)

_TAIL_BYTES: Final = 8 << 10
# How llama.cpp, ggml, the C library and Python announce that something went wrong.
_SIGNS: Final = (
    "error:",
    "Error:",
    "panic:",
    "fatal error:",
    "CUDA error",
    "ROCm error",
    "cudaMalloc failed",
    "error loading model",
    "GGML_ASSERT",
    "llama_init_from_model:",
    "MemoryError",
    "out of memory",
    "failed to allocate",
    "allocation failed",
    "not enough memory",
    "insufficient memory",
    "cannot allocate memory",
)


class LogTail:
    """Keeps the last 8 KiB of a stream.

    Attributes:
        count: bytes seen in all; grows as long as the process writes.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.count = 0
        self._tail = b""

    @property
    def text(self) -> str:
        """What is kept; bytes that are no UTF-8 are replaced."""
        return self._tail.decode("utf-8", "replace")

    @property
    def last_error(self) -> str:
        """The last line that looks like an error; "" when none does."""
        for line in reversed(self.text.splitlines()):
            if any(sign in line for sign in _SIGNS):
                return line.strip()
        return ""

    def explain(self, message: str) -> str:
        """The message with the last error behind it, if there is one."""
        return f"{message}: {self.last_error}" if self.last_error else message

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        self.count += len(data)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Take everything a stream brings until its end."""
        while data := await stream.read(1 << 16):
            self.feed(data)
            logger.debug("runner: %s", data.decode("utf-8", "replace").rstrip())
