"""Where the server's log goes: to the terminal, or to a file that never grows without end.

What users ask and what models answer is never formatted into a line in the first place. The
filter here is the second line of defence, for the key and for what a header may carry.
"""

import logging
import logging.handlers
import os
import re
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import Final

from ollama_jupyter.config import Config, LogLevel
from ollama_jupyter.errors import StoreError

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FILE_LIMIT_BYTES: Final = 5 << 20
_OLD_FILES: Final = 2
_CREDENTIAL: Final = re.compile(r"(?i)\b(bearer|basic)\s+\S+")
_LEVELS: Final[dict[LogLevel, int]] = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class Redaction(logging.Filter):
    """Takes credentials out of every line."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        """Remember the texts that must never be written."""
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; lets every record pass."""
        message = _CREDENTIAL.sub(r"\1 ***", record.getMessage())
        for secret in self._secrets:
            message = message.replace(secret, "***")
        record.msg, record.args = message, None
        return True


class PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A rotated log file that only its user can read; a link in its place is not followed."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return TextIOWrapper(FileIO(descriptor, "a"), encoding="utf-8")


def set_up(config: Config, *, is_background: bool, secrets: tuple[str, ...]) -> logging.Handler:
    """Send this package's and the framework's lines to the log; give back the handler.

    Args:
        config: names the folder and the level.
        is_background: whether nobody watches a terminal, so that a file is written.
        secrets: texts that no line may hold.

    Raises:
        StoreError: the file cannot be written.
    """
    handler = _file_handler(config.user_dir / "logs") if is_background else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(Redaction(secrets))
    ours = logging.getLogger("ollama_jupyter")
    ours.setLevel(_LEVELS[config.log_level])
    frameworks = [logging.getLogger("tornado"), logging.getLogger("asyncio")]
    for logger in frameworks:
        logger.setLevel(logging.WARNING)
    for logger in (ours, *frameworks):
        logger.propagate = False
        logger.addHandler(handler)
    return handler


def take_down(handler: logging.Handler) -> None:
    """Undo `set_up`, and close the file."""
    for name in ("ollama_jupyter", "tornado", "asyncio"):
        logger = logging.getLogger(name)
        logger.removeHandler(handler)
        logger.propagate = True
    handler.close()


def _file_handler(folder: Path) -> logging.Handler:
    path = folder / "server.log"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return PrivateRotatingFile(path, maxBytes=_FILE_LIMIT_BYTES, backupCount=_OLD_FILES)
    except OSError as error:
        raise StoreError(f"cannot write the log {str(path)!r}: {error.strerror}") from error
