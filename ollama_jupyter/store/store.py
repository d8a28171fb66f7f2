"""One store: where the parts meet."""

from collections.abc import Iterable
from pathlib import Path

from ollama_jupyter.names import Digest
from ollama_jupyter.store import garbage
from ollama_jupyter.store.blobs import Blobs
from ollama_jupyter.store.garbage import Leases
from ollama_jupyter.store.ingest import remove_stale
from ollama_jupyter.store.layout import Layout
from ollama_jupyter.store.manifests import Manifests


class Store:
    """A folder in the reference's layout; one made by the reference is used as it is.

    Nothing is written before `prepare`, `put` or the like is called. Safe to use from any thread.
    """

    def __init__(self, root: Path, *, prune: bool = True) -> None:
        """Describe the store at `root`; with `prune` off, blobs that nothing uses stay."""
        self.layout = Layout(root)
        self.blobs = Blobs(self.layout)
        self.manifests = Manifests(self.layout)
        self.leases = Leases(self.layout)
        self._prune = prune

    def prepare(self) -> None:
        """Make the folders, and clear away what dead processes left; a server does so at start.

        Raises:
            StoreError: the folders can't be made.
        """
        self.layout.create()
        remove_stale(self.layout)
        if self._prune:
            garbage.sweep(self.layout, self.manifests, self.leases)

    def remove_unused(self, candidates: Iterable[Digest]) -> list[Digest]:
        """Remove those of the candidates that no manifest and no lease uses; the ones removed."""
        if not self._prune:
            return []
        return garbage.remove_unused(
            self.layout, self.manifests, self.leases, candidates=candidates
        )
