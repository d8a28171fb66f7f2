"""Requests and replies of the native API; the vocabulary every room shares.

Fields, order and omissions follow the reference's REST description. A field that is "omitted when
empty" there has `None`, `""`, `()` or `0` as its default here and is left out when encoded
(`omit_defaults`); one that is always written has no default, or lives in a Struct that does not
omit. Durations are integer nanoseconds, sizes bytes, times RFC 3339 texts.

`Options` is a plain mapping here (`options: dict`); `api.options` gives its entries their types.
"""

from typing import Any, TypeAlias

import msgspec

JSON: TypeAlias = Any
"""A JSON value as it came from outside."""

Think: TypeAlias = bool | str
"""Thinking switched on or off, or a level (low, medium, high, max)."""


class ToolCallFunction(msgspec.Struct, frozen=True, kw_only=True):
    """The function a model wants called, with its arguments in the order written."""

    index: int = 0
    name: str = ""
    arguments: dict[str, JSON] = {}


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call; `id` is echoed by the tool message that answers it."""

    id: str = ""
    function: ToolCallFunction = ToolCallFunction()


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation; images are the decoded bytes."""

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


class ToolProperty(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={
        "any_of": "anyOf",
    },
):
    """One parameter of a tool; `type` is a name or a list of names."""

    any_of: tuple["ToolProperty", ...] = ()
    type: str | tuple[str, ...] = ""
    items: JSON = None
    description: str = ""
    enum: tuple[JSON, ...] = ()
    properties: dict[str, "ToolProperty"] = {}
    required: tuple[str, ...] = ()


class ToolParameters(msgspec.Struct, frozen=True, kw_only=True, rename={"defs": "$defs"}):
    """The parameters of a tool, as the JSON Schema object the reference keeps."""

    type: str = ""
    defs: JSON = None
    items: JSON = None
    required: tuple[str, ...] = ()
    properties: dict[str, ToolProperty] | None = None


class ToolFunction(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is called and what it takes."""

    name: str = ""
    description: str = ""
    parameters: ToolParameters = ToolParameters()


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool offered to the model."""

    type: str = ""
    items: JSON = None
    function: ToolFunction = ToolFunction()


class _Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What generate and chat have in common."""

    model: str = ""
    stream: bool | None = None
    format: JSON = None
    keep_alive: JSON = None
    options: dict[str, JSON] | None = None
    think: JSON = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    progress: bool = False
    debug_render_only: bool = msgspec.field(default=False, name="_debug_render_only")


class GenerateRequest(_Generation, frozen=True, kw_only=True):
    """POST /api/generate."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: tuple[int, ...] = ()
    raw: bool = False
    images: tuple[bytes, ...] = ()


class ChatRequest(_Generation, frozen=True, kw_only=True):
    """POST /api/chat."""

    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/embed; `input` is a text or a list of texts."""

    model: str = ""
    input: JSON = None
    truncate: bool | None = None
    dimensions: int = 0
    keep_alive: JSON = None
    options: dict[str, JSON] | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/embeddings, the older form."""

    model: str = ""
    prompt: str = ""
    keep_alive: JSON = None
    options: dict[str, JSON] | None = None


class ShowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/show."""

    model: str = ""
    name: str = ""
    system: str = ""
    verbose: bool = False
    options: dict[str, JSON] | None = None


class CopyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/copy."""

    source: str = ""
    destination: str = ""


class DeleteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """DELETE /api/delete."""

    model: str = ""
    name: str = ""


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """POST /api/create; `files` and `adapters` map a relative path to a blob's digest."""

    model: str = ""
    name: str = ""
    stream: bool | None = None
    from_: str = ""
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    quantize: str = ""
    template: str = ""
    license: JSON = None
    system: str = ""
    parameters: dict[str, JSON] | None = None
    messages: tuple[Message, ...] = ()
    requires: str = ""
    info: dict[str, JSON] | None = None


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/pull and POST /api/push."""

    model: str = ""
    name: str = ""
    insecure: bool = False
    stream: bool | None = None


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alternative at one position; `bytes` are the token's UTF-8 bytes."""

    token: str
    logprob: float
    bytes: tuple[int, ...] = ()


class Logprob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The chosen token at one position, natural logarithm, with its alternatives."""

    token: str
    logprob: float
    bytes: tuple[int, ...] = ()
    top_logprobs: tuple[TokenLogprob, ...] = ()


class Truncated(msgspec.Struct, frozen=True, kw_only=True):
    """How much of an overlong prompt was left out: whole messages, and tokens of the rest."""

    messages: int
    tokens: int


class DebugInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rendered prompt, for `_debug_render_only`."""

    rendered_template: str
    image_count: int = 0


class Metrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The six figures of a finished generation; durations in nanoseconds, counts in tokens."""

    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class ReplyMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The message inside a chat reply; `role` and `content` are always written."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


class GenerateChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of a generate reply."""

    model: str
    created_at: str
    response: str
    thinking: str = ""
    done: bool
    done_reason: str = ""
    context: tuple[int, ...] = ()
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    truncated: Truncated | None = None
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")
    logprobs: tuple[Logprob, ...] = ()


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of a chat reply."""

    model: str
    created_at: str
    message: ReplyMessage
    done: bool
    done_reason: str = ""
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")
    logprobs: tuple[Logprob, ...] = ()
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    truncated: Truncated | None = None


class ProgressChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A record sent before the first text when the request asked for progress.

    `status` is queued, loading or prefill; `completed` and `total` count bytes while loading and
    tokens in prefill.
    """

    model: str
    created_at: str
    status: str
    completed: int
    total: int
    done: bool = False


class EmbedResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Reply of /api/embed: one L2-normalised vector an input."""

    model: str
    embeddings: list[list[float]]
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0


class StatusRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of create, pull or push; `total` and `completed` in bytes."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
