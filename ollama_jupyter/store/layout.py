"""Where things lie in a store: the only place that joins its paths.

    <root>/manifests/<host>/<namespace>/<model>/<tag>
    <root>/blobs/sha256-<hex>            an older store also has sha256:<hex>
    <root>/.ingest/                      work in progress, locks, records of linked blobs

A path is made from a `ModelName` or a `Digest` only, and those can't spell `..` or `/`.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ollama_jupyter.errors import InvalidName, StoreError
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store.disk import disk_errors


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store; `root` need not exist until `create`."""

    root: Path

    @property
    def blobs(self) -> Path:
        """The folder of blobs."""
        return self.root / "blobs"

    @property
    def manifests(self) -> Path:
        """The folder of manifests."""
        return self.root / "manifests"

    @property
    def ingest(self) -> Path:
        """The folder of work in progress, outside `blobs`, where another Ollama would prune it."""
        return self.root / ".ingest"

    @property
    def lock(self) -> Path:
        """The file that servers of this store lock; its content means nothing."""
        return self.ingest / "lock"

    @property
    def withdrawn(self) -> Path:
        """The folder with one empty file for each offered model that was deleted."""
        return self.ingest / "withdrawn"

    def blob(self, digest: Digest) -> Path:
        """Where a blob is written."""
        return self.blobs / digest.file_name

    def old_blob(self, digest: Digest) -> Path:
        """Where an older store has it; only read."""
        return self.blobs / f"sha256:{digest.hex}"

    def link_record(self, digest: Digest) -> Path:
        """Where the state of a linked file is kept, by which a later edit is noticed."""
        return self.ingest / f"linked-{digest.hex}"

    def manifest(self, name: ModelName) -> Path:
        """Where the manifest of a model lies."""
        return self.manifests.joinpath(*name.path_parts())

    def withdrawal(self, name: ModelName) -> Path:
        """The file whose presence says that an offered model was deleted."""
        return self.withdrawn / "+".join(part.lower() for part in name.path_parts())

    def create(self) -> None:
        """Make the folders that are missing; a new root is 0700, an existing one is left alone.

        Raises:
            StoreError: a folder can't be made, or is a link to another user's folder.
        """
        with disk_errors(f"cannot make the store at {self.root}"):
            if not self.root.is_dir():
                self.root.parent.mkdir(parents=True, exist_ok=True)
                self.root.mkdir(mode=0o700, exist_ok=True)
            for folder in (self.blobs, self.manifests):
                folder.mkdir(mode=0o755, exist_ok=True)
                _check_owner(folder)

    def create_ingest(self) -> None:
        """Make the folder of work in progress, and the store if need be.

        A store that is only read gets none: one made by the reference stays as it was.

        Raises:
            StoreError: as `create`.
        """
        self.create()
        with disk_errors(f"cannot make the store at {self.root}"):
            self.ingest.mkdir(mode=0o700, exist_ok=True)
            _check_owner(self.ingest)

    def iter_manifests(self) -> Iterator[tuple[ModelName, Path]]:
        """Every path that could be a manifest: four parts deep, each a legal name part.

        What lies there is not looked at; it may be anything.
        """
        for host in _entries(self.manifests):
            for namespace in _entries(host):
                for model in _entries(namespace):
                    for tag in _entries(model):
                        parts = (host.name, namespace.name, model.name, tag.name)
                        try:
                            name = ModelName.from_path_parts(*parts)
                        except InvalidName:
                            continue
                        yield name, tag


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted; nothing when it is no folder or can't be read."""
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in sorted(entries, key=lambda entry: entry.name)]
    except OSError:
        return []


def _check_owner(folder: Path) -> None:
    """Refuse a linked folder that another user could fill."""
    if not stat.S_ISLNK(folder.lstat().st_mode) or not hasattr(os, "geteuid"):
        return
    if folder.stat().st_uid != os.geteuid():
        raise StoreError(
            f"{folder} is a link to another user's folder; set OLLAMA_MODELS to one of yours"
        )
