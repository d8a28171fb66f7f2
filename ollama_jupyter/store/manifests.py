"""Manifests: which blobs make up a model.

This module alone knows how a manifest is spelled. What it reads may be anything: a manifest that
is damaged, or isn't even a file, concerns its own model only. Pulled manifests are kept byte for
byte, because their sha256 is the model's id.
"""

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from ollama_jupyter.api.native import encode
from ollama_jupyter.errors import InvalidDigest, NotFound, StoreError
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store.disk import (
    digest_of,
    disk_errors,
    make_folders,
    read_regular,
    remove_file,
    sync_folder,
    write_all,
)
from ollama_jupyter.store.ingest import create_partial, new_partial
from ollama_jupyter.store.layout import Layout

MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG: Final = "application/vnd.docker.container.image.v1+json"
MODEL: Final = "application/vnd.ollama.image.model"
PROJECTOR: Final = "application/vnd.ollama.image.projector"
ADAPTER: Final = "application/vnd.ollama.image.adapter"
TEMPLATE: Final = "application/vnd.ollama.image.template"
PROMPT: Final = "application/vnd.ollama.image.prompt"  # what TEMPLATE was called once
SYSTEM: Final = "application/vnd.ollama.image.system"
PARAMS: Final = "application/vnd.ollama.image.params"
MESSAGES: Final = "application/vnd.ollama.image.messages"
LICENSE: Final = "application/vnd.ollama.image.license"

LIMIT_BYTES: Final = 4 << 20
LIMIT_LAYERS: Final = 512

_PLACE_ATTEMPTS: Final = 10

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One blob of a model.

    Attributes:
        media_type: what the blob is; one of this module's constants, or one we don't know.
        digest: which blob.
        size: its bytes.
        source: the model or file it came from; "" when that isn't said.
    """

    media_type: str
    digest: Digest
    size: int
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The layers of a model in order, and its config."""

    config: Layer
    layers: tuple[Layer, ...]

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """Every layer, the config last."""
        return (*self.layers, self.config)

    @property
    def digests(self) -> frozenset[Digest]:
        """Digests of all blobs it needs."""
        return frozenset(layer.digest for layer in self.blobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest as it lies in the store.

    Attributes:
        name: the model's name, as spelled on disk.
        manifest: what it says.
        raw: its bytes.
        digest: sha256 of those, the model's id.
        modified_ns: when its file was written, wall clock.
    """

    name: ModelName
    manifest: Manifest
    raw: bytes
    digest: Digest
    modified_ns: int

    @property
    def size(self) -> int:
        """Bytes of all layers and the config."""
        return sum(layer.size for layer in self.manifest.blobs)


# Inside `Manifests` the word `list` is a method.
StoredManifests: TypeAlias = list[StoredManifest]


class _WireLayer(msgspec.Struct, kw_only=True, omit_defaults=True):
    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int
    source: str = msgspec.field(name="from", default="")


class _WireManifest(msgspec.Struct, kw_only=True):
    schema_version: int = msgspec.field(name="schemaVersion", default=2)
    media_type: str = msgspec.field(name="mediaType", default=MANIFEST)
    config: _WireLayer
    layers: list[_WireLayer]


def decode_manifest(raw: bytes) -> Manifest:
    """The manifest that bytes spell; fields we don't know are ignored.

    Raises:
        StoreError: they spell none, or one with impossible digests, sizes or layer counts.
    """
    if len(raw) > LIMIT_BYTES:
        raise StoreError(f"manifest is larger than {LIMIT_BYTES} bytes")
    try:
        wire = msgspec.json.decode(raw, type=_WireManifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise StoreError(f"manifest is no manifest: {error}") from error
    if len(wire.layers) > LIMIT_LAYERS:
        raise StoreError(f"manifest has {len(wire.layers)} layers, more than {LIMIT_LAYERS}")
    return Manifest(config=_layer(wire.config), layers=tuple(map(_layer, wire.layers)))


def _layer(wire: _WireLayer) -> Layer:
    try:
        digest = Digest.parse(wire.digest)
    except InvalidDigest as error:
        raise StoreError("manifest has a layer with an invalid digest") from error
    if not 0 <= wire.size < 2**63:
        raise StoreError(f"manifest has a layer of impossible size {wire.size}")
    return Layer(media_type=wire.media_type, digest=digest, size=wire.size, source=wire.source)


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest made here: compact JSON and a newline, escaped as Go does."""
    wire = _WireManifest(config=_wire(manifest.config), layers=[*map(_wire, manifest.layers)])
    return encode(wire) + b"\n"


def _wire(layer: Layer) -> _WireLayer:
    return _WireLayer(
        media_type=layer.media_type,
        digest=str(layer.digest),
        size=layer.size,
        source=layer.source,
    )


class Manifests:
    """The manifests of one store. Every method may block on the disk."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(self, name: ModelName) -> StoredManifest:
        """The manifest of exactly this name (see `existing_spelling` for another case).

        Raises:
            NotFound: there is none.
            StoreError: what is there is no manifest.
        """
        path = self._layout.manifest(name)
        try:
            raw, state = read_regular(path, limit_bytes=LIMIT_BYTES)
            manifest = decode_manifest(raw)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f'model "{name}" not found') from error
        except (OSError, StoreError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            raise StoreError(
                f'model "{name}" is damaged ({reason}); delete it, or pull or create it again'
            ) from error
        return StoredManifest(
            name=name,
            manifest=manifest,
            raw=raw,
            digest=digest_of(raw),
            modified_ns=state.st_mtime_ns,
        )

    def list(self) -> StoredManifests:
        """Every readable manifest, the most recently modified first; damaged ones are logged."""
        found, _ = self.scan()
        return sorted(found, key=lambda stored: -stored.modified_ns)

    def scan(self) -> tuple[StoredManifests, int]:
        """Every readable manifest in the order of names, and how many were not readable."""
        found: StoredManifests = []
        damaged = 0
        for name, _ in self._layout.iter_manifests():
            try:
                found.append(self.read(name))
            except NotFound:
                continue
            except StoreError as error:
                damaged += 1
                _LOG.warning("%s", error)
        return found, damaged

    def write(self, name: ModelName, manifest: Manifest) -> StoredManifest:
        """Make `name` stand for this manifest, durably and all at once.

        Raises:
            StoreError: the disk refused; the older manifest still stands.
        """
        return self.write_raw(name, encode_manifest(manifest))

    def write_raw(self, name: ModelName, raw: bytes) -> StoredManifest:
        """The same for the bytes of a manifest that came from elsewhere.

        Raises:
            StoreError: they are no manifest, or the disk refused.
        """
        manifest = decode_manifest(raw)
        with disk_errors(f'cannot write the manifest of model "{name}"'):
            partial, descriptor = create_partial(self._layout)
            try:
                write_all(descriptor, raw)
                os.fsync(descriptor)
                modified_ns = os.fstat(descriptor).st_mtime_ns
                self._name(partial, self._layout.manifest(name))
            finally:
                os.close(descriptor)
                remove_file(partial)
        return StoredManifest(
            name=name,
            manifest=manifest,
            raw=raw,
            digest=digest_of(raw),
            modified_ns=modified_ns,
        )

    def remove(self, name: ModelName) -> None:
        """Remove a manifest, damaged or not, and the folders it leaves empty.

        Raises:
            NotFound: there is none.
            StoreError: the disk refused.
        """
        path = self._layout.manifest(name)
        with disk_errors(f'cannot remove the manifest of model "{name}"'):
            if not self._clear_folder(path):
                try:
                    path.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    raise NotFound(f'model "{name}" not found') from None
            with suppress(FileNotFoundError):  # somebody else has removed the empty folder
                sync_folder(path.parent)
        self._prune_folders(path.parent)

    def prune_empty_folders(self) -> None:
        """Remove the folders that hold no manifests, which other programs may leave behind."""
        folders = [Path(folder) for folder, _, _ in os.walk(self._layout.manifests)]
        for folder in reversed(folders):
            self._prune_folders(folder)

    def _prune_folders(self, folder: Path) -> None:
        """Remove a folder of manifests and its parents as far as they are empty."""
        while folder != self._layout.manifests and self._layout.manifests in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def exists(self, name: ModelName) -> bool:
        """Whether something lies where this very name's manifest would."""
        return os.path.lexists(self._layout.manifest(name))

    def find_existing(self, name: ModelName) -> ModelName | None:
        """The stored name that is equal ignoring case; None when there is none."""
        found = self.existing_spelling(name)
        return found if self.exists(found) else None

    def existing_spelling(self, name: ModelName) -> ModelName:
        """The name with each part spelled as some stored name spells it.

        Parts are matched ignoring case and independently of each other, as the reference does: a
        new tag of an existing model goes into that model's folder.
        """
        if self.exists(name):
            return name
        wanted = [part.lower() for part in name.path_parts()]
        spelled: list[str | None] = [None] * len(wanted)
        for parts in self._stored_parts():
            for index, part in enumerate(parts):
                if spelled[index] != name.path_parts()[index] and part.lower() == wanted[index]:
                    spelled[index] = part
        host, namespace, model, tag = (
            stored or given for stored, given in zip(spelled, name.path_parts(), strict=True)
        )
        return ModelName(host=host, namespace=namespace, model=model, tag=tag, scheme=name.scheme)

    def _stored_parts(self) -> Iterator[tuple[str, str, str, str]]:
        for stored, _ in self._layout.iter_manifests():
            yield stored.path_parts()

    def _name(self, partial: Path, path: Path) -> None:
        """Put a complete manifest in its place; its folders are made as need be."""
        for attempt in range(_PLACE_ATTEMPTS):
            try:
                make_folders(path.parent, above=self._layout.manifests)
                self._clear_folder(path)
                partial.replace(path)
                break
            except FileNotFoundError:
                # Somebody who removed the last model in a folder removed that, too.
                if attempt + 1 == _PLACE_ATTEMPTS:
                    raise
        with suppress(FileNotFoundError):  # somebody else has removed the model already
            sync_folder(path.parent)

    def _clear_folder(self, path: Path) -> bool:
        """Move a folder that lies where a manifest belongs out of the way; whether one did."""
        try:
            if not stat.S_ISDIR(path.lstat().st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        stray = new_partial(self._layout)
        path.rename(stray)
        shutil.rmtree(stray, ignore_errors=True)
        return True
