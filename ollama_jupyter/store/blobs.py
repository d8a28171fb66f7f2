"""Blobs: files that are named by the sha256 of what they hold.

The rule that must not break: a file under a final name holds what the name says. So bytes get
their name only after they were hashed and synced, by a rename.
"""

import os
from pathlib import Path

import msgspec

from ollama_jupyter.errors import NotFound, StoreError
from ollama_jupyter.names import Digest
from ollama_jupyter.store.disk import (
    digest_of,
    disk_errors,
    open_regular,
    read_regular,
    refresh,
    regular_size,
    remove_file,
    sync_folder,
    write_all,
)
from ollama_jupyter.store.ingest import Ingest, client_file, create_partial, new_partial
from ollama_jupyter.store.layout import Layout
from ollama_jupyter.store.links import LinkRecord, Progress, bring_in, hash_file, read_record
from ollama_jupyter.store.locks import lock_shared


class Blobs:
    """The blobs of one store. Every method may block on the disk; none needs another's lock."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here; its content is not looked at."""
        return self._find(digest) is not None

    def size(self, digest: Digest) -> int:
        """Bytes the blob's file has.

        Raises:
            NotFound: it is not here.
        """
        return self._require(digest)[1]

    def path(self, digest: Digest) -> Path:
        """The blob's file.

        Raises:
            NotFound: it is not here.
        """
        return self._require(digest)[0]

    def loadable(self, digest: Digest, *, size_bytes: int) -> Path:
        """The blob's file, after the checks that are cheap enough to make before every load.

        Args:
            digest: which blob.
            size_bytes: what the manifest says it has.

        Raises:
            NotFound: it is not here.
            StoreError: its size is wrong, or it is linked to a file that was edited.
        """
        path, size = self._require(digest)
        if size != size_bytes:
            raise StoreError(
                f"blob {digest} is damaged: it has {size} bytes instead of {size_bytes};"
                " pull or create the model again"
            )
        record_path = self._layout.link_record(digest)
        record = read_record(record_path)
        if record is None:
            return path
        with disk_errors(f"cannot read blob {digest}"):
            if record != LinkRecord.of(path.lstat()):
                self._check_link(digest, path)
        return path

    def read(self, digest: Digest, limit_bytes: int) -> bytes:
        """The content of a small blob, verified against its name.

        Raises:
            NotFound: it is not here.
            StoreError: it is larger than the limit, damaged, or can't be read.
        """
        path = self.path(digest)
        with disk_errors(f"cannot read blob {digest}"):
            content, _ = read_regular(path, limit_bytes=limit_bytes)
        if digest_of(content) != digest:
            raise StoreError(f"blob {digest} is damaged; pull or create the model again")
        return content

    def verify(self, digest: Digest, progress: Progress | None = None) -> bool:
        """Whether a blob's content is what its name says; reads all of it.

        Raises:
            NotFound: it is not here.
            StoreError: it can't be read.
        """
        path = self.path(digest)
        with disk_errors(f"cannot read blob {digest}"):
            descriptor = open_regular(path)
            try:
                return hash_file(descriptor, progress)[0] == digest
            finally:
                os.close(descriptor)

    def refresh(self, digest: Digest) -> None:
        """Make a blob that is about to be used again young, so that no collector takes it.

        A linked blob keeps its times: they are the user's file's.
        """
        found = self._find(digest)
        if found is not None and read_record(self._layout.link_record(digest)) is None:
            refresh(found[0])

    def put(self, data: bytes) -> Digest:
        """Store a small blob, or find it here already; its digest.

        Raises:
            StoreError: the disk refused.
        """
        digest = digest_of(data)
        if regular_size(self._layout.blob(digest)) == len(data):
            with disk_errors(f"cannot read blob {digest}"):
                content, _ = read_regular(self._layout.blob(digest), limit_bytes=len(data))
            if content == data:
                self.refresh(digest)
                return digest
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit(digest)

    def ingest(self) -> Ingest:
        """A blob to be written piece by piece; use it as a context manager."""
        return Ingest(self._layout)

    def adopt(self, path: Path, progress: Progress | None = None) -> Digest:
        """Bring a file of the user's in, without copying where that is possible; its digest.

        Never call this with a path that came in a request.

        Args:
            path: the file; links on the way to it are followed.
            progress: told (hashed, total) in bytes while it is hashed.

        Raises:
            StoreError: it can't be read, or the disk refused.
        """
        with disk_errors(f"cannot bring in {path.name}"):
            partial, descriptor, how = bring_in(path.resolve(strict=True), self._layout)
            return self._name_partial(partial, descriptor, progress, is_linked=how == "link")

    def adopt_ingested(self, token: str, progress: Progress | None = None) -> Digest:
        """Give the file that a client of the same user put into `.ingest` its final name.

        Args:
            token: the file's name there.
            progress: told (hashed, total) in bytes while it is hashed.

        Raises:
            BadRequest: the token is no such name.
            NotFound: no file of that name is there.
            StoreError: it is no regular file of this user, or the disk refused.
        """
        path = client_file(self._layout, token)
        size = regular_size(path)
        if size is None:
            raise NotFound("no such file was put into the store; link or copy it there first")
        with disk_errors("cannot bring in the file"):
            descriptor = open_regular(path)
            state = os.fstat(descriptor)
            if hasattr(os, "geteuid") and state.st_uid != os.geteuid():
                os.close(descriptor)
                raise StoreError("the file put into the store belongs to another user")
            lock_shared(descriptor)
            partial = path.rename(new_partial(self._layout))
            return self._name_partial(partial, descriptor, progress, is_linked=state.st_nlink > 1)

    def _name_partial(
        self, partial: Path, descriptor: int, progress: Progress | None, *, is_linked: bool
    ) -> Digest:
        """Hash a complete partial file and rename it.

        Come what may, afterwards the descriptor is closed and the partial file is gone.
        """
        try:
            digest, state = hash_file(descriptor, progress)
            os.fsync(descriptor)
            record_path = self._layout.link_record(digest)
            if is_linked:
                # Before the name, so that no linked blob is ever without a record. The rename
                # changes ctime; a record that differs costs one more hashing, no more.
                self._write_record(record_path, LinkRecord.of(state))
            partial.replace(self._layout.blob(digest))
        finally:
            os.close(descriptor)
            remove_file(partial)
        if is_linked:
            now = self._layout.blob(digest).lstat()
            is_same = (now.st_mtime_ns, now.st_size) == (state.st_mtime_ns, state.st_size)
            self._write_record(record_path, LinkRecord.of(now if is_same else state))
        else:
            remove_file(record_path)
        sync_folder(self._layout.blobs)
        return digest

    def _check_link(self, digest: Digest, path: Path) -> None:
        """Hash a linked blob whose state changed, and keep the new state when it still matches."""
        descriptor = open_regular(path)
        try:
            actual, state = hash_file(descriptor, None)
        finally:
            os.close(descriptor)
        if actual != digest:
            raise StoreError(
                f"blob {digest} is linked to a file that was changed; create the model again"
            )
        self._write_record(self._layout.link_record(digest), LinkRecord.of(state))

    def _write_record(self, path: Path, record: LinkRecord) -> None:
        # Not synced: a record lost or cut by a crash reads as one that differs, or the blob that
        # follows it never got its name.
        partial, descriptor = create_partial(self._layout)
        try:
            write_all(descriptor, msgspec.json.encode(record))
            partial.replace(path)
        finally:
            os.close(descriptor)
            remove_file(partial)

    def _find(self, digest: Digest) -> tuple[Path, int] | None:
        for path in (self._layout.blob(digest), self._layout.old_blob(digest)):
            size = regular_size(path)
            if size is not None:
                return path, size
        return None

    def _require(self, digest: Digest) -> tuple[Path, int]:
        found = self._find(digest)
        if found is None:
            raise NotFound(f'blob "{digest}" not found')
        return found
