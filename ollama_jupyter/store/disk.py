"""Opening, writing and syncing files of the store, in the one way that is safe.

Every file the store reads is opened without following a link and without blocking, and is read
only if it is a regular file: a pipe or a folder where a manifest should be hurts nobody else.
Every file it makes is created exclusively under a random name, so no planted link is followed.
Durability is containerd's: write, fsync the file, rename, fsync the folder.
"""

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ollama_jupyter.errors import StoreError
from ollama_jupyter.names import Digest

FILE_MODE: Final = 0o644
CHUNK_BYTES: Final = 1 << 20

# Absent on Windows, where a regular open neither follows a link nor blocks in the same way.
_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)
_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what the disk refuses inside the block into a StoreError that begins with `what`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            reason = "no space left on the disk that holds the store; free some and try again"
        elif error.errno == errno.EROFS:
            reason = "the store is on a read-only file system"
        raise StoreError(f"{what}: {reason}") from error


def open_regular(path: Path) -> int:
    """A descriptor for reading a regular file; the caller closes it.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: what is there is a link, a folder, a pipe or a device, or can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _BINARY | _CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return descriptor


def create_exclusively(path: Path) -> int:
    """A descriptor for reading and writing a new file; the caller closes it.

    Raises:
        OSError: something, even a dangling link, is there already.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY | _CLOEXEC
    return os.open(path, flags, FILE_MODE)


def read_regular(path: Path, *, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, and its state when it was read.

    Raises:
        OSError: as `open_regular`; EFBIG when the file is larger than the limit.
    """
    descriptor = open_regular(path)
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"larger than {limit_bytes} bytes")
    return content, state


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def regular_size(path: Path) -> int | None:
    """Size in bytes of a regular file; None when there is none (a link counts as none)."""
    try:
        state = path.lstat()
    except OSError:
        return None
    return state.st_size if stat.S_ISREG(state.st_mode) else None


def sync_folder(path: Path) -> None:
    """Make renames inside a folder durable; nothing where folders can't be synced."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(path: Path, *, above: Path) -> None:
    """Make a folder and its parents below `above`, durably; those that exist are left alone."""
    missing = []
    while path != above and not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o755, exist_ok=True)
        sync_folder(folder.parent)


def remove_file(path: Path) -> bool:
    """Remove a file or link; whether one was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def refresh(path: Path) -> None:
    """Set a file's time to now, so that a collector that spares young files spares it."""
    # Another user's file can't be touched; it stays as young as it is.
    with suppress(OSError):
        os.utime(path, follow_symlinks=False)


def digest_of(data: bytes) -> Digest:
    """The digest of bytes in memory."""
    return Digest(hashlib.sha256(data).hexdigest())


def read_head(path: Path, count: int) -> bytes:
    """The first bytes of a regular file, fewer when it is shorter.

    Raises:
        StoreError: it can't be read.
    """
    with disk_errors(f"cannot read {path.name}"):
        descriptor = open_regular(path)
        try:
            return os.read(descriptor, count)
        finally:
            os.close(descriptor)
