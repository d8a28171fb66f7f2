"""The files of a create request: names checked, content told apart."""

from dataclasses import dataclass
from typing import Final, Literal

from ollama_jupyter.errors import BadRequest, InvalidModelFile
from ollama_jupyter.gguf.metadata import Metadata, check_runnable
from ollama_jupyter.gguf.reader import MAGIC, read_header
from ollama_jupyter.names import Digest
from ollama_jupyter.store.blobs import Blobs
from ollama_jupyter.store.disk import read_head
from ollama_jupyter.store.manifests import ADAPTER, MODEL, PROJECTOR

Kind = Literal["model", "adapter", "projector"]

MEDIA_TYPES: Final = {"model": MODEL, "adapter": ADAPTER, "projector": PROJECTOR}

_NO_CONVERSION: Final = (
    "safetensors models can't be converted yet; convert them to GGUF first, for example with"
    " llama.cpp's convert_hf_to_gguf.py"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """A file that a request names: its path at the client's, and its blob."""

    path: str
    digest: Digest


def checked_files(files: dict[str, str] | None) -> tuple[SentFile, ...]:
    """The files of a request, in order.

    Raises:
        BadRequest: a path is not a clean relative one, or a digest is none.
    """
    sent = []
    for path, digest in (files or {}).items():
        if not _is_clean(path):
            raise BadRequest("file path must be relative")
        sent.append(SentFile(path=path, digest=Digest.parse(digest)))
    return tuple(sent)


def _is_clean(path: str) -> bool:
    """Whether a path is relative and spelled in the shortest way; it names no file of ours."""
    return bool(path) and all(part not in ("", ".", "..") for part in path.split("/"))


def read_gguf(blobs: Blobs, file: SentFile) -> tuple[Kind, Metadata]:
    """What a sent file is, from its content, and its header.

    Raises:
        BadRequest: it is nothing that a model is made from here.
        InvalidModelFile: it is a GGUF that must not reach native code.
        NotFound: its blob is not in the store.
    """
    path = blobs.path(file.digest)
    head = read_head(path, len(MAGIC))
    if head not in (MAGIC, MAGIC[::-1]):
        if file.path.endswith(".safetensors"):
            raise BadRequest(_NO_CONVERSION)
        if file.path.endswith(".gguf"):
            raise InvalidModelFile("supplied file was not in GGUF format")
        raise BadRequest("unknown type")
    metadata = Metadata(read_header(path))
    if metadata.split_count > 1:
        raise BadRequest(
            f"{file.path} is one of {metadata.split_count} parts of a model, which can't be joined"
            " here yet; join them with llama-gguf-split --merge"
        )
    kind = _kind(metadata)
    if kind == "model":
        check_runnable(metadata)
    return kind, metadata


def _kind(metadata: Metadata) -> Kind:
    if metadata.kind == "adapter":
        return "adapter"
    has_blocks = metadata.has("block_count")
    has_encoder = any(
        key.endswith((".has_vision_encoder", ".has_audio_encoder")) and value is True
        for key, value in metadata.header.kv.items()
    )
    is_projector = (
        metadata.kind in ("projector", "mmproj")
        or (metadata.has("vision.block_count") and not has_blocks)
        or (metadata.architecture == "clip" and has_encoder and not has_blocks)
    )
    return "projector" if is_projector else "model"
