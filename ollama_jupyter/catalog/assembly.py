"""Putting a model together: its layers into the store, then its config, then its manifest.

Everything stored is leased from before it is written until the manifest stands, so nothing that
collects unused blobs can take it in between.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from ollama_jupyter.api.native import encode, to_json
from ollama_jupyter.api.types import JSON, Message
from ollama_jupyter.catalog.config import ModelConfig, encode_config
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store.disk import digest_of
from ollama_jupyter.store.manifests import (
    CONFIG,
    PROMPT,
    TEMPLATE,
    Layer,
    Manifest,
    StoredManifest,
)
from ollama_jupyter.store.store import Store

# A new text of one of these kinds takes the place of an older one.
_SAME_KIND: Final = {TEMPLATE: frozenset({TEMPLATE, PROMPT})}


class Assembly:
    """The layers of one model while it is made; use it as a context manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lease = store.leases.open()
        self._layers: list[Layer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lease.close()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What was added so far, in order."""
        return tuple(self._layers)

    def add(self, layer: Layer) -> None:
        """Add a layer whose blob is in the store.

        Raises:
            NotFound: it is not.
        """
        self._lease.add(layer.digest)
        self._store.blobs.path(layer.digest)
        self._store.blobs.refresh(layer.digest)
        self._layers.append(layer)

    def add_blob(self, media_type: str, digest: Digest, *, source: str = "") -> None:
        """Add a blob of the store as a layer.

        Raises:
            NotFound: it is not in the store.
        """
        self._lease.add(digest)
        size = self._store.blobs.size(digest)
        self.add(Layer(media_type=media_type, digest=digest, size=size, source=source))

    def add_text(self, media_type: str, text: str | bytes) -> tuple[Digest, bool]:
        """Store a text and add it as a layer; its digest, and whether it was not there yet.

        Raises:
            StoreError: the disk refused it.
        """
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        digest = digest_of(data)
        self._lease.add(digest)
        is_new = not self._store.blobs.has(digest)
        self._store.blobs.put(data)
        self._layers.append(Layer(media_type=media_type, digest=digest, size=len(data)))
        return digest, is_new

    def drop(self, media_type: str) -> None:
        """Take the layers of a kind out again; their blobs stay where they are."""
        kinds = _SAME_KIND.get(media_type, frozenset({media_type}))
        self._layers = [layer for layer in self._layers if layer.media_type not in kinds]

    def finish(self, name: ModelName, config: ModelConfig) -> StoredManifest:
        """Store the config and make `name` stand for what was put together, durably.

        Raises:
            StoreError: the disk refused; the older manifest still stands.
        """
        layers = self.layers
        digest, _ = self.add_text(CONFIG, encode_config(config))
        return self._store.manifests.write(
            name, Manifest(config=self._layer_of(digest), layers=layers)
        )

    def _layer_of(self, digest: Digest) -> Layer:
        return next(layer for layer in reversed(self._layers) if layer.digest == digest)


def encode_parameters(parameters: dict[str, JSON]) -> bytes:
    """The bytes of a params layer: sorted keys, a newline at the end."""
    return encode(dict(sorted(parameters.items()))) + b"\n"


def encode_messages(messages: Iterable[Message]) -> bytes:
    """The bytes of a messages layer."""
    return encode([to_json(message) for message in messages]) + b"\n"
