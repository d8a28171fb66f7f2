"""Which blobs may go, and who says that one may not.

A blob goes when no manifest names it and nobody holds a lease on it. A pull or a create holds
leases on what it has stored or found until its manifest is written. Leases of this process are
counted in memory; those of another process that serves the same store are seen through a shared
lock on the store's lock file: while it holds any, nothing is collected here.
"""

import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ollama_jupyter.errors import InvalidDigest, StoreError
from ollama_jupyter.names import Digest
from ollama_jupyter.store.disk import create_exclusively, disk_errors, open_regular, remove_file
from ollama_jupyter.store.layout import Layout
from ollama_jupyter.store.locks import lock_shared, try_lock
from ollama_jupyter.store.manifests import Manifests, StoredManifest

# The reference spares what is younger than an hour: another program may be about to name it.
YOUNG_SECONDS: Final = 3600.0

_LOG: Final = logging.getLogger(__name__)
# Partial downloads and temporary files of other programs, by the names they are known to have.
_LITTER: Final = re.compile(r"sha256[-:][0-9A-Za-z]+(-partial.*)?|sha256-[0-9]+")


class Leases:
    """Digests that are in use, counted; safe to use from any thread."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._held: Counter[Digest] = Counter()
        self._mutex = threading.Lock()
        self._descriptor = -1

    @contextmanager
    def hold(self, *digests: Digest) -> Iterator[None]:
        """Keep these blobs from being collected while the block runs, here or not yet."""
        lease = self.open()
        try:
            lease.add(*digests)
            yield
        finally:
            lease.close()

    def open(self) -> "Lease":
        """A lease that digests are added to as they become known; whoever opens it closes it."""
        with self._mutex:
            if self._descriptor < 0:
                self._descriptor = _open_lock(self._layout)
                lock_shared(self._descriptor)
            self._held[_ANY] += 1
        return Lease(self)

    def add(self, digests: Iterable[Digest]) -> None:
        """Count digests up; a `Lease` does this."""
        with self._mutex:
            self._held.update(digests)

    def drop(self, digests: Iterable[Digest]) -> None:
        """Count one lease and its digests down; a `Lease` does this."""
        with self._mutex:
            self._held.subtract(digests)
            self._held[_ANY] -= 1
            self._held = +self._held
            if not self._held[_ANY] and self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    @contextmanager
    def collecting(self) -> Iterator[frozenset[Digest] | None]:
        """Shut everyone else out for the block; the digests held here, or None when others hold."""
        with self._mutex:
            is_own = self._descriptor >= 0
            descriptor = self._descriptor if is_own else _open_lock(self._layout)
            try:
                if try_lock(descriptor):
                    yield frozenset(self._held) - {_ANY}
                else:
                    yield None
            finally:
                if is_own:
                    lock_shared(descriptor)
                else:
                    os.close(descriptor)


class Lease:
    """Digests held by one piece of work."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._digests: list[Digest] = []
        self._is_open = True

    def add(self, *digests: Digest) -> None:
        """Hold these too."""
        self._digests += digests
        self._leases.add(digests)

    def close(self) -> None:
        """Hold nothing any more; closing again does nothing."""
        if self._is_open:
            self._is_open = False
            self._leases.drop(self._digests)


# Counts open leases; no blob has this digest, since nobody knows a text that hashes to it.
_ANY: Final = Digest("0" * 64)


def _open_lock(layout: Layout) -> int:
    with disk_errors("cannot lock the store"):
        layout.create_ingest()
        while True:
            try:
                return open_regular(layout.lock)
            except FileNotFoundError:
                pass
            try:
                return create_exclusively(layout.lock)
            except FileExistsError:
                continue


def remove_unused(
    layout: Layout,
    manifests: Manifests,
    leases: Leases,
    *,
    candidates: Iterable[Digest],
) -> list[Digest]:
    """Remove those of the candidates that nothing uses; the ones removed.

    Damaged manifests count as using nothing. Never fails for a blob that can't be removed: it is
    logged and stays until the next sweep.
    """
    with leases.collecting() as held:
        if held is None:
            return []
        used = _used(manifests.scan()[0]) | held
        return [digest for digest in candidates if digest not in used and _remove(layout, digest)]


def sweep(layout: Layout, manifests: Manifests, leases: Leases) -> list[Digest]:
    """Remove every blob that nothing uses, and other programs' litter; the blobs removed.

    Spares what is younger than an hour, and everything when some manifest can't be read.
    """
    found, damaged = manifests.scan()
    if damaged:
        _LOG.warning("%d damaged manifests: no unused blobs are removed", damaged)
        return []
    orphans, litter = _orphans(layout, _used(found))
    for path in litter:
        _try_remove(path)
    manifests.prune_empty_folders()
    # A store with nothing to remove isn't even locked, for that would write to it.
    if not orphans:
        return []
    return remove_unused(layout, manifests, leases, candidates=orphans)


def _used(found: Iterable[StoredManifest]) -> frozenset[Digest]:
    return frozenset(digest for stored in found for digest in stored.manifest.digests)


def _old_files(folder: Path) -> Iterator[Path]:
    now = time.time()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        try:
            if now - path.lstat().st_mtime > YOUNG_SECONDS:
                yield path
        except OSError:
            continue


def _orphans(layout: Layout, used: frozenset[Digest]) -> tuple[list[Digest], list[Path]]:
    """The old blobs that no manifest names, and the old files that are no blobs."""
    orphans: list[Digest] = []
    litter: list[Path] = []
    for path in _old_files(layout.blobs):
        digest = _digest(path.name)
        if digest is None:
            if _LITTER.fullmatch(path.name):
                litter.append(path)
        elif digest not in used:
            orphans.append(digest)
    return orphans, litter


def _digest(file_name: str) -> Digest | None:
    try:
        return Digest.parse(file_name)
    except InvalidDigest:
        return None


def _remove(layout: Layout, digest: Digest) -> bool:
    paths = (layout.blob(digest), layout.old_blob(digest), layout.link_record(digest))
    removed = [_try_remove(path) for path in paths]
    return any(removed)


def _try_remove(path: Path) -> bool:
    try:
        with disk_errors(f"cannot remove {path.name}"):
            return remove_file(path)
    except StoreError as error:
        _LOG.warning("%s", error)
        return False
