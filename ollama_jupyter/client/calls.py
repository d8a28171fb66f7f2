"""Every call of the API as a value: method, path, body, and whether a stream comes back.

Pure: a `Call` is data, and some client carries it out. A body leaves out what the caller left at
its default, so that a server which knows only the reference's fields sees only those.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from ollama_jupyter.api.types import (
    JSON,
    ChatRequest,
    CopyRequest,
    CreateRequest,
    DeleteRequest,
    EmbedRequest,
    GenerateRequest,
    Message,
    PullRequest,
    ShowRequest,
)
from ollama_jupyter.names import Digest

Method = Literal["GET", "HEAD", "POST", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a server.

    Attributes:
        path: from the server's root; a prefix in the address comes before it.
        body: the request's record; None sends no body.
        is_stream: whether the reply is one JSON record a line.
    """

    method: Method
    path: str
    body: msgspec.Struct | None = None
    is_stream: bool = False

    def encode_body(self) -> bytes | None:
        """The body as JSON bytes; None when there is none."""
        return None if self.body is None else msgspec.json.encode(_record(self.body))


def _record(struct: msgspec.Struct) -> dict[str, JSON]:
    """The fields of a record that were set, under their names on the wire."""
    fields = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        is_default = value == field.default or (field.default_factory is dict and value == {})
        if not is_default:
            fields[field.encode_name] = _message_list(value) or value
    return fields


def _message_list(value: object) -> list[dict[str, JSON]] | None:
    """Messages without their empty fields, role and content excepted; None for anything else."""
    if not (isinstance(value, tuple) and value and isinstance(value[0], Message)):
        return None
    return [
        {"role": message.role, "content": message.content, **_record(message)} for message in value
    ]


# --- the server itself ----------------------------------------------------------------------


def root() -> Call:
    """`GET /`, whose text says that it is an Ollama server; needs no key."""
    return Call(method="GET", path="/")


def version() -> Call:
    """`{"version": …}`."""
    return Call(method="GET", path="/api/version")


def ps() -> Call:
    """The loaded models."""
    return Call(method="GET", path="/api/ps")


def events() -> Call:
    """A stream with a record whenever the store or the loaded set changes; not on every server."""
    return Call(method="GET", path="/api/events", is_stream=True)


# --- models ---------------------------------------------------------------------------------


def list_() -> Call:
    """The installed models."""
    return Call(method="GET", path="/api/tags")


def show(
    model: str,
    *,
    system: str = "",
    verbose: bool = False,
    options: dict[str, JSON] | None = None,
) -> Call:
    """What a model is made of; `system` and `options` are those of a session, shown in it."""
    body = ShowRequest(model=model, system=system, verbose=verbose, options=options)
    return Call(method="POST", path="/api/show", body=body)


def copy(source: str, destination: str) -> Call:
    """Give a model a second name."""
    body = CopyRequest(source=source, destination=destination)
    return Call(method="POST", path="/api/copy", body=body)


def delete(model: str) -> Call:
    """Remove a name, and what only it used."""
    return Call(method="DELETE", path="/api/delete", body=DeleteRequest(model=model))


def create(request: CreateRequest) -> Call:
    """Make a model from files or from another model; a stream of status records."""
    return Call(method="POST", path="/api/create", body=request, is_stream=True)


def pull(model: str, *, insecure: bool = False) -> Call:
    """Download a model; a stream of status records."""
    body = PullRequest(model=model, insecure=insecure)
    return Call(method="POST", path="/api/pull", body=body, is_stream=True)


def has_blob(digest: Digest) -> Call:
    """Whether the server holds that content: 200, or 404."""
    return Call(method="HEAD", path=f"/api/blobs/{digest}")


def upload_blob(digest: Digest) -> Call:
    """Hand content over; the client sends the bytes."""
    return Call(method="POST", path=f"/api/blobs/{digest}")


# --- generation -----------------------------------------------------------------------------


def chat(request: ChatRequest) -> Call:
    """Answer a conversation; a stream unless the request says otherwise."""
    is_stream = request.stream is not False
    return Call(method="POST", path="/api/chat", body=request, is_stream=is_stream)


def generate(request: GenerateRequest) -> Call:
    """Answer a prompt; a stream unless the request says otherwise."""
    is_stream = request.stream is not False
    return Call(method="POST", path="/api/generate", body=request, is_stream=is_stream)


def load(model: str, *, keep_alive: str | float | None = None, think: JSON = None) -> Call:
    """Load a model without asking it anything; one record when it is ready."""
    body = GenerateRequest(model=model, keep_alive=keep_alive, think=think, stream=False)
    return Call(method="POST", path="/api/generate", body=body)


def unload(model: str) -> Call:
    """Unload a model as soon as nothing runs on it."""
    return load(model, keep_alive=0)


def embed(request: EmbedRequest) -> Call:
    """Vectors of one or more texts."""
    return Call(method="POST", path="/api/embed", body=request)
