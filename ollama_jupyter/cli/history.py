"""The lines typed at the prompt, kept in `~/.ollama/history` from session to session."""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit.history import History

_LIMIT_LINES: Final = 100
_NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)


class FileHistory(History):
    """The last hundred lines in a file only its user can read.

    An entry of several lines is written as it is, and so comes back as several. The prompt works
    without a history too: a file that cannot be read or written is left alone.

    Args:
        path: the file.
        is_kept: whether new lines are written to it; may be changed at any time.
    """

    def __init__(self, path: Path, *, is_kept: bool) -> None:
        super().__init__()
        self.path = path
        self.is_kept = is_kept

    def load_history_strings(self) -> Iterable[str]:
        """The lines kept, newest first."""
        return reversed(self._read())

    def store_string(self, string: str) -> None:
        """Add an entry, and let the oldest lines go."""
        if self.is_kept:
            with contextlib.suppress(OSError):
                self._write([*self._read(), *string.splitlines()][-_LIMIT_LINES:])

    def _read(self) -> list[str]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _NO_FOLLOW)
        except OSError:
            return []
        with os.fdopen(descriptor, "r", encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in file if line.strip()][-_LIMIT_LINES:]

    def _write(self, lines: list[str]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.path.with_name(f".history.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
        try:
            with os.fdopen(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)
