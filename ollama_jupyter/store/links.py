"""Files brought in without copying: reflinked, else hard-linked when they are the user's own.

A hard link shares its bytes with a file outside the store, and whoever edits that edits the blob.
So the state of a linked file is kept (device, inode, size, both times), and a blob whose state
changed is hashed again before it is used. A linked blob is never written and never chmod-ed.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from ollama_jupyter.names import Digest
from ollama_jupyter.store.disk import (
    CHUNK_BYTES,
    open_regular,
    read_regular,
    remove_file,
    write_all,
)
from ollama_jupyter.store.ingest import create_partial, new_partial
from ollama_jupyter.store.layout import Layout
from ollama_jupyter.store.locks import lock_shared

Progress = Callable[[int, int], None]
How = Literal["reflink", "link", "copy"]

_FICLONE: Final = 0x40049409
_RECORD_LIMIT_BYTES: Final = 4096


class LinkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """State of a file at the moment it was hashed; times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, state: os.stat_result) -> "LinkRecord":
        """The part of a file's state that every edit changes."""
        return cls(
            device=state.st_dev,
            inode=state.st_ino,
            size=state.st_size,
            mtime_ns=state.st_mtime_ns,
            ctime_ns=state.st_ctime_ns,
        )


def read_record(path: Path) -> LinkRecord | None:
    """The record at a path; None when the blob is no linked one.

    A damaged record counts as one that differs from everything.
    """
    try:
        content, _ = read_regular(path, limit_bytes=_RECORD_LIMIT_BYTES)
        return msgspec.json.decode(content, type=LinkRecord)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        return LinkRecord(device=-1, inode=-1, size=-1, mtime_ns=-1, ctime_ns=-1)


def hash_file(descriptor: int, progress: Progress | None) -> tuple[Digest, os.stat_result]:
    """Digest of an open file from its start, and its state before the first byte was read."""
    state = os.fstat(descriptor)
    digest = hashlib.sha256()
    done = 0
    while chunk := os.pread(descriptor, CHUNK_BYTES, done):
        digest.update(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, state.st_size)
    return Digest(digest.hexdigest()), state


def bring_in(source: Path, layout: Layout) -> tuple[Path, int, How]:
    """A partial file that holds what `source` holds, got as cheaply as can be.

    Its path comes with a descriptor for reading it, which has it locked and which the caller
    closes, and with how it came about.

    Raises:
        OSError: the source is no regular file or can't be read, or the disk refused.
        StoreError: the folder of work in progress can't be made.
    """
    descriptor = open_regular(source)
    try:
        # A link has the inode of its source: locked here, it is locked when it appears.
        lock_shared(descriptor)
        shared = _try_reflink(descriptor, layout)
        if shared is not None:
            return *shared, "reflink"
        partial = new_partial(layout)
        if _is_ours(descriptor) and _try_link(descriptor, source, partial):
            return partial, os.dup(descriptor), "link"
        return *_copy(descriptor, layout), "copy"
    finally:
        os.close(descriptor)


def _try_reflink(descriptor: int, layout: Layout) -> tuple[Path, int] | None:
    """A partial file that shares the extents of an open one; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    import fcntl

    path, clone = create_partial(layout)
    try:
        fcntl.ioctl(clone, _FICLONE, descriptor)
    except OSError:
        os.close(clone)
        remove_file(path)
        return None
    return path, clone


def _copy(descriptor: int, layout: Layout) -> tuple[Path, int]:
    path, copy = create_partial(layout)
    try:
        done = 0
        while chunk := os.pread(descriptor, CHUNK_BYTES, done):
            write_all(copy, chunk)
            done += len(chunk)
    except OSError:
        os.close(copy)
        remove_file(path)
        raise
    return path, copy


def _is_ours(descriptor: int) -> bool:
    return hasattr(os, "geteuid") and os.fstat(descriptor).st_uid == os.geteuid()


def _try_link(descriptor: int, source: Path, target: Path) -> bool:
    """Hard-link the file; whether that was possible and gave the file that was opened."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return False
    opened, linked = os.fstat(descriptor), target.lstat()
    if (opened.st_dev, opened.st_ino) != (linked.st_dev, linked.st_ino):
        target.unlink()
        return False
    return True
