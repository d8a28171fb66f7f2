"""From a name to a model.

Manifests are read anew every time, so a model that was put into the folder by hand appears. What
a manifest stands for never changes, because its blobs don't: it is read once and kept under the
manifest's digest. Before a model is handed out its files are looked at again (see
`Blobs.loadable`).
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ollama_jupyter.api.model_types import ListedModel
from ollama_jupyter.api.native import local_timestamp
from ollama_jupyter.catalog.capabilities import (
    Parts,
    capabilities,
    check_capabilities,
    uses_chat_template,
)
from ollama_jupyter.catalog.config import ModelConfig, decode_config
from ollama_jupyter.catalog.layers import TEXT_LIMIT_BYTES, Texts
from ollama_jupyter.catalog.model import Model, details
from ollama_jupyter.catalog.offered import OfferedModel, Offers, config_of, discover
from ollama_jupyter.errors import (
    BadRequest,
    InvalidModelFile,
    InvalidTemplate,
    NotFound,
    StoreError,
)
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.gguf.reader import read_header
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.store.links import Progress
from ollama_jupyter.store.manifests import (
    ADAPTER,
    LICENSE,
    MODEL,
    PROJECTOR,
    PROMPT,
    SYSTEM,
    TEMPLATE,
    StoredManifest,
)
from ollama_jupyter.store.store import Store

_KEPT_MODELS: Final = 64

_LOG: Final = logging.getLogger(__name__)


class Catalog:
    """The models of one store and those on offer. May block on the disk; any thread may call."""

    def __init__(
        self,
        store: Store,
        *,
        go_template: bool | None,
        offered: bool,
        find_offered: Callable[[], tuple[OfferedModel, ...]] = discover,
    ) -> None:
        """Look into a store.

        Args:
            store: where models are.
            go_template: OLLAMA_GO_TEMPLATE; None when it is unset.
            offered: whether models that packages bring are shown and used.
            find_offered: finds those.
        """
        self.store = store
        self.offers = Offers(store, find_offered if offered else tuple)
        self._go_template = go_template
        self._kept: OrderedDict[Digest, Model] = OrderedDict()
        self._mutex = threading.Lock()

    def resolve(
        self, text: str, *, even_withdrawn: bool = False, progress: Progress | None = None
    ) -> Model:
        """The model a text names; an offered one enters the store by this.

        Args:
            text: a name without a source suffix.
            even_withdrawn: whether an offered model that was deleted counts, too.
            progress: told (hashed, total) in bytes while an offered model is brought in.

        Raises:
            InvalidName: the text is no name.
            NotFound: there is no such model, or a file of it is missing.
            BadRequest: it does not run here.
            InvalidModelFile: its GGUF must not reach native code.
            StoreError: something of it is damaged.
        """
        stored = self.find(text, even_withdrawn=even_withdrawn, progress=progress)
        model = self._load(stored)
        self._check_files(model)
        return model

    def find(
        self, text: str, *, even_withdrawn: bool = False, progress: Progress | None = None
    ) -> StoredManifest:
        """The manifest a text names, with the arguments and errors of `resolve`."""
        name = ModelName.parse(text)
        manifests = self.store.manifests
        try:
            return manifests.read(manifests.existing_spelling(name))
        except NotFound:
            offered = self.offers.find(name, even_withdrawn=even_withdrawn)
        if offered is None:
            raise NotFound(f"model '{text}' not found")
        return self.offers.materialise(offered, progress)

    def check(self, model: Model, *wanted: str) -> None:
        """Refuse when a model lacks a capability that is wanted.

        Raises:
            UnsupportedCapability: one line for each that is missing.
        """
        check_capabilities(model.name.full(), model.capabilities, wanted)

    # --- reading ----------------------------------------------------------------------------

    def _load(self, stored: StoredManifest) -> Model:
        with self._mutex:
            kept = self._kept.get(stored.digest)
            if kept is not None:
                self._kept.move_to_end(stored.digest)
                return kept.called(stored)
        try:
            model = self._read(stored)
        except NotFound as error:
            raise NotFound(f'model "{stored.name}" not found, try pulling it first') from error
        with self._mutex:
            self._kept[stored.digest] = model
            if len(self._kept) > _KEPT_MODELS:
                self._kept.popitem(last=False)
        return model

    def _read(self, stored: StoredManifest) -> Model:
        config = self.config(stored)
        weights = self._weights(stored, config)
        texts = Texts(self.store, stored.manifest.layers)
        template = texts.last(TEMPLATE, PROMPT)
        projectors = self._paths(stored, PROJECTOR)
        metadata = Metadata(read_header(self.store.blobs.path(weights)))
        parts = Parts(
            config=config,
            weights=metadata,
            projectors=tuple(Metadata(read_header(path)) for path in projectors),
            template=_parsed(template),
            go_template=self._go_template,
        )
        return Model(
            name=stored.name,
            manifest=stored,
            weights=weights,
            weights_path=self.store.blobs.path(weights),
            adapters=self._paths(stored, ADAPTER),
            projectors=projectors,
            config=config,
            template=template,
            chat_template=parts.chat_template,
            uses_chat_template=uses_chat_template(parts),
            system=texts.last(SYSTEM),
            parameters=texts.parameters(),
            messages=texts.messages(),
            licenses=texts.all(LICENSE),
            metadata=metadata,
            projector_metadata=parts.projectors,
            capabilities=capabilities(parts),
        )

    def config(self, stored: StoredManifest) -> ModelConfig:
        """The config layer of a stored model.

        Raises:
            NotFound: its blob is missing.
            StoreError: it is damaged.
        """
        layer = stored.manifest.config
        return decode_config(self.store.blobs.read(layer.digest, TEXT_LIMIT_BYTES))

    def _weights(self, stored: StoredManifest, config: ModelConfig) -> Digest:
        if config.remote_host:
            raise BadRequest("this server cannot run this remote model")
        for layer in stored.manifest.layers:
            if layer.media_type == MODEL:
                return layer.digest
        raise BadRequest(
            f'model "{stored.name}" has no GGUF weights; only GGUF models run on this server'
        )

    def _paths(self, stored: StoredManifest, media_type: str) -> tuple[Path, ...]:
        layers = stored.manifest.layers
        return tuple(
            self.store.blobs.path(layer.digest)
            for layer in layers
            if layer.media_type == media_type
        )

    def _check_files(self, model: Model) -> None:
        """Look at the files that will be loaded, which something outside may have changed."""
        for layer in model.manifest.manifest.layers:
            if layer.media_type in (MODEL, ADAPTER, PROJECTOR):
                try:
                    self.store.blobs.loadable(layer.digest, size_bytes=layer.size)
                except NotFound as error:
                    raise NotFound(
                        f'model "{model.name}" not found, try pulling it first'
                    ) from error

    # --- listing ----------------------------------------------------------------------------

    def _listed(self, stored: StoredManifest) -> ListedModel | None:
        """How a stored model is listed; None when not even its config can be read.

        One whose weights are missing or damaged is listed without capabilities, so that it can be
        seen and deleted.
        """
        try:
            model = self._load(stored)
            config, metadata, able = model.config, model.metadata, model.capabilities
        except (NotFound, BadRequest, InvalidModelFile, StoreError) as error:
            try:
                config, metadata, able = self.config(stored), None, ()
            except (NotFound, StoreError):
                _LOG.warning("%s", error)
                return None
            able = config.capabilities
        return _entry(
            name=stored.name,
            modified_ns=stored.modified_ns,
            size=stored.size,
            digest=stored.digest.hex,
            config=config,
            metadata=metadata,
            able=able,
        )

    def _listed_offer(self, offered: OfferedModel) -> ListedModel | None:
        """How a model on offer is listed; its digest is "" until it is in the store."""
        try:
            state = offered.path.stat()
            metadata = Metadata(read_header(offered.path))
        except (OSError, InvalidModelFile) as error:
            _LOG.warning("offered model %s: %s", offered.name, error)
            return None
        parts = Parts(
            config=config_of(metadata),
            weights=metadata,
            template=_parsed(offered.template),
            go_template=self._go_template,
        )
        return _entry(
            name=offered.model_name(),
            modified_ns=state.st_mtime_ns,
            size=state.st_size,
            digest="",
            config=parts.config,
            metadata=metadata,
            able=capabilities(parts),
        )

    def list(self) -> list[ListedModel]:
        """Every model, the most recently modified first; those on offer come last."""
        stored = self.store.manifests.list()
        present = {entry.name.folded() for entry in stored}
        listed = [self._listed(entry) for entry in stored]
        listed += [
            self._listed_offer(offered)
            for offered in self.offers.all()
            if offered.model_name().folded() not in present
        ]
        return [entry for entry in listed if entry is not None]


def _entry(
    *,
    name: ModelName,
    modified_ns: int,
    size: int,
    digest: str,
    config: ModelConfig,
    metadata: Metadata | None,
    able: tuple[str, ...],
) -> ListedModel:
    trained = metadata.context_length if metadata else 0
    width = metadata.embedding_length if metadata else 0
    return ListedModel(
        name=name.display(),
        model=name.display(),
        modified_at=local_timestamp(modified_ns),
        size=size,
        digest=digest,
        details=msgspec.structs.replace(
            details(config, metadata),
            context_length=config.context_length or trained,
            embedding_length=config.embedding_length or width,
        ),
        capabilities=able,
    )


def _parsed(text: str) -> Template | None:
    """The Go template; None when there is none or it does not parse, which rendering will say."""
    if not text:
        return None
    try:
        return Template.parse(text)
    except InvalidTemplate:
        return None
