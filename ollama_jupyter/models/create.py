"""Making a model from GGUF blobs or from another model.

`create` is a generator of the records that a client is shown. It reads and writes the disk, so it
is run in a thread; closing it gives up, and then nothing has changed but for blobs that no model
names. The manifest is written last.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import msgspec

from ollama_jupyter.api.options import merge
from ollama_jupyter.api.types import JSON, CreateRequest, StatusRecord
from ollama_jupyter.catalog.assembly import Assembly, encode_messages, encode_parameters
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.catalog.layers import Texts
from ollama_jupyter.catalog.offered import config_of
from ollama_jupyter.errors import BadRequest, InvalidTemplate, NotFound
from ollama_jupyter.models.files import MEDIA_TYPES, SentFile, checked_files, read_gguf
from ollama_jupyter.models.info import apply_info
from ollama_jupyter.models.library import blobs_of
from ollama_jupyter.names import Digest, ModelName, ModelRef
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.store.manifests import (
    LICENSE,
    MESSAGES,
    PARAMS,
    SYSTEM,
    TEMPLATE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A request whose every part that can be judged without the store is in order."""

    name: ModelName
    from_name: ModelName | None
    files: tuple[SentFile, ...]
    adapters: tuple[SentFile, ...]
    licenses: tuple[str, ...]


def create(catalog: Catalog, request: CreateRequest) -> Generator[StatusRecord, None, None]:
    """Make a model; the progress, ending with the status "success".

    Raises:
        BadRequest: something in the request is wrong; before the first record where that can be
            told then.
        NotFound: the model it builds on, or a blob, is not here.
        InvalidModelFile: a GGUF must not reach native code.
        StoreError: the disk refused.
    """
    checked = _check(request)
    name = catalog.store.manifests.existing_spelling(checked.name)
    replaced = blobs_of(catalog, name)
    with Assembly(catalog.store) as assembly:
        config = None
        if checked.from_name is not None:
            config = _add_base(catalog, assembly, checked.from_name)
        config = yield from _add_files(catalog, assembly, checked, config)
        for layer in assembly.layers:
            yield _existing(layer.digest)
        for media_type, text in _texts(catalog, assembly, checked, request):
            digest, is_new = assembly.add_text(media_type, text)
            yield _creating(digest) if is_new else _existing(digest)
        config = apply_info(config, request.info or {})
        if request.requires:
            config = msgspec.structs.replace(config, requires=request.requires)
        yield StatusRecord(status="writing manifest")
        stored = assembly.finish(name, config)
    catalog.offers.offer_again(name)
    catalog.store.remove_unused(replaced - stored.manifest.digests)
    yield StatusRecord(status="success")


# --- checks ---------------------------------------------------------------------------------


def _check(request: CreateRequest) -> _Checked:
    files = checked_files(request.files)
    adapters = checked_files(request.adapters)
    name = ModelName.parse((request.model or request.name).strip())
    from_name = ModelRef.parse(request.from_).model_name() if request.from_.strip() else None
    if from_name is None and request.files is None:
        raise BadRequest("neither 'from' or 'files' was specified")
    if from_name is None and not files:
        raise BadRequest("no files provided to convert")
    if len(adapters) > 1:
        raise BadRequest("only one adapter is currently supported")
    if request.quantize:
        raise BadRequest(
            f"quantizing to {request.quantize.upper()!r} is not supported yet; create the model"
            " from a GGUF that is quantized already"
        )
    if request.template:
        try:
            Template.parse(request.template)
        except InvalidTemplate as error:
            raise BadRequest(f"template error: {error}") from error
    merge(request.parameters or {}, None)
    apply_info(ModelConfig(), request.info or {})
    return _Checked(
        name=name,
        from_name=from_name,
        files=files,
        adapters=adapters,
        licenses=_licenses(request.license),
    )


def _licenses(value: JSON) -> tuple[str, ...]:
    """The licenses of a request: null, one text, or a list of texts."""
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise BadRequest("license must be a string or a list of strings")
    return tuple(text for text in texts if text)


# --- layers ---------------------------------------------------------------------------------


def _add_base(catalog: Catalog, assembly: Assembly, name: ModelName) -> ModelConfig:
    """Take over the layers of another model; its config.

    Raises:
        NotFound: it, or a blob of it, is not in the store.
    """
    try:
        stored = catalog.find(name.full(), even_withdrawn=True)
    except NotFound as error:
        raise NotFound(f'model "{name}" not found, try pulling it first') from error
    for layer in stored.manifest.layers:
        assembly.add(replace(layer, source=stored.name.display()))
    return catalog.config(stored)


def _add_files(
    catalog: Catalog, assembly: Assembly, checked: _Checked, config: ModelConfig | None
) -> Generator[StatusRecord, None, ModelConfig]:
    """Add the GGUFs of the request; the config, changed by what they are.

    Args:
        catalog: where the blobs are.
        assembly: what they are added to.
        checked: the request.
        config: that of the model it builds on; None when it builds on files alone.
    """
    blobs = catalog.store.blobs
    for file, wanted in (
        *((file, None) for file in checked.files),
        *((file, "adapter") for file in checked.adapters),
    ):
        yield StatusRecord(status="parsing GGUF")
        kind, metadata = read_gguf(blobs, file)
        if wanted is not None and kind != wanted:
            raise BadRequest(f"{file.path} is a {kind}, not an adapter")
        if kind == "model":
            if config is not None:
                raise BadRequest("a model is built on one model; FROM names more than one")
            config = config_of(metadata)
        elif kind == "projector" and config is not None:
            config = _with_family(config, metadata.architecture)
        assembly.add_blob(MEDIA_TYPES[kind], file.digest, source=_base_name(file.path))
    if config is None:
        raise BadRequest("none of the files holds a model; FROM must name one")
    return config


def _texts(
    catalog: Catalog, assembly: Assembly, checked: _Checked, request: CreateRequest
) -> Iterator[tuple[str, str | bytes]]:
    """The text layers to add, with their media types; layers they replace are dropped first."""
    inherited = Texts(catalog.store, assembly.layers).parameters()
    if request.template:
        assembly.drop(TEMPLATE)
        yield TEMPLATE, request.template
    if request.system:
        assembly.drop(SYSTEM)
        yield SYSTEM, request.system
    for text in checked.licenses:
        yield LICENSE, text
    if request.parameters:
        assembly.drop(PARAMS)
        yield PARAMS, encode_parameters({**inherited, **request.parameters})
    if request.messages:
        assembly.drop(MESSAGES)
        yield MESSAGES, encode_messages(request.messages)


def _with_family(config: ModelConfig, family: str) -> ModelConfig:
    families = dict.fromkeys((*(config.model_families or ()), family))
    return msgspec.structs.replace(config, model_families=tuple(families))


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _existing(digest: Digest) -> StatusRecord:
    return StatusRecord(status=f"using existing layer {digest}")


def _creating(digest: Digest) -> StatusRecord:
    return StatusRecord(status=f"creating new layer {digest}")
