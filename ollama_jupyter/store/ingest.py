"""A blob on its way in: hashed while it is written, and nameless until it is complete and synced.

A partial file stays locked for as long as its writer lives. That is how a server that starts later
tells litter from another server's work.
"""

import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ollama_jupyter.errors import BadRequest
from ollama_jupyter.names import Digest
from ollama_jupyter.store.disk import (
    create_exclusively,
    disk_errors,
    open_regular,
    remove_file,
    sync_folder,
    write_all,
)
from ollama_jupyter.store.layout import Layout
from ollama_jupyter.store.locks import lock_shared, try_lock

# What a client put here and never named is litter after this long.
STALE_SECONDS: Final = 3600.0

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_WRITING: Final = "write-"


def new_partial(layout: Layout) -> Path:
    """A name for work in progress that nobody can guess and no litter has.

    Raises:
        StoreError: the folder for it can't be made.
    """
    layout.create_ingest()
    return layout.ingest / f"{_WRITING}{secrets.token_hex(16)}"


def client_file(layout: Layout, token: str) -> Path:
    """Where a client of the same user put a file under a random name.

    Raises:
        BadRequest: the text is no such name.
    """
    if not _TOKEN.fullmatch(token) or token.startswith((_WRITING, "linked-")):
        raise BadRequest("invalid ingest token: it has 16 to 64 letters, digits, '-' or '_'")
    return layout.ingest / token


def create_partial(layout: Layout) -> tuple[Path, int]:
    """A new file for work in progress and its descriptor, which the caller closes.

    The file is locked from the first moment it counts, and so no cleaner takes it until then.

    Raises:
        StoreError: the folder for it can't be made.
        OSError: the disk refused.
    """
    while True:
        path = new_partial(layout)
        descriptor = create_exclusively(path)
        lock_shared(descriptor)
        # A cleaner that came between the two calls has removed the file by now.
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


class Ingest:
    """One blob being written; leaving the block without a commit removes what was written.

    Used by one thread at a time. `size` counts the bytes written so far.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = Path()
        self._descriptor = -1
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        with disk_errors("cannot start writing a blob"):
            self._path, self._descriptor = create_partial(self._layout)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            remove_file(self._path)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes at the end.

        Raises:
            StoreError: the disk refused them.
        """
        with disk_errors("cannot write a blob"):
            write_all(self._descriptor, data)
        self._hash.update(data)
        self.size += len(data)

    def commit(self, expected: Digest | None = None) -> Digest:
        """Give the blob its final name, durably; its digest.

        An equal blob that is already there is replaced, which heals one the disk has damaged.

        Raises:
            BadRequest: the digest is not the expected one; nothing is kept.
            StoreError: the disk refused.
        """
        digest = Digest(self._hash.hexdigest())
        if expected is not None and digest != expected:
            raise BadRequest(f'digest mismatch, expected "{expected}", got "{digest}"')
        with disk_errors(f"cannot store blob {digest}"):
            os.fsync(self._descriptor)
            self._path.replace(self._layout.blob(digest))
            # The new file is nobody's link, so the record of an older one goes.
            remove_file(self._layout.link_record(digest))
            sync_folder(self._layout.blobs)
        os.close(self._descriptor)
        self._descriptor = -1
        return digest


def remove_stale(layout: Layout) -> None:
    """Remove what dead writers and forgetful clients left in the folder of work in progress."""
    for path in _ingest_entries(layout):
        name = path.name
        if name.startswith(_WRITING):
            _remove_abandoned(path)
        elif name.startswith("linked-"):
            digest = Digest(name.removeprefix("linked-")) if _is_hex(name[7:]) else None
            if digest is None or not layout.blob(digest).exists():
                _remove_any(path)
        elif _TOKEN.fullmatch(name) and _age_seconds(path) > STALE_SECONDS:
            _remove_any(path)


def _ingest_entries(layout: Layout) -> list[Path]:
    try:
        return sorted(layout.ingest.iterdir())
    except OSError:
        return []


def _is_hex(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _remove_abandoned(path: Path) -> None:
    """Remove a partial file, or what lies in its place, unless a living process has it locked."""
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        return
    except OSError:
        _remove_any(path)
        return
    try:
        if try_lock(descriptor):
            _remove_any(path)
    finally:
        os.close(descriptor)


def _age_seconds(path: Path) -> float:
    """Seconds since the entry was put or linked here (a linked file keeps its own mtime)."""
    try:
        return time.time() - path.lstat().st_ctime
    except OSError:
        return 0.0


def _remove_any(path: Path) -> None:
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    except OSError:
        return
