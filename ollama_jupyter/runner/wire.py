"""THE protocol between the server and a runner: HTTP over a private Unix socket, JSON bodies.

    GET  /health          -> Health; 200 when ok, 503 while loading, 500 on error
    POST /completion      CompletionRequest -> NDJSON of CompletionChunk, the last with `done`
    POST /embedding       EmbeddingRequest -> EmbeddingReply
    POST /tokenize        TokenizeRequest -> TokenizeReply
    POST /detokenize      DetokenizeRequest -> DetokenizeReply
    POST /apply-template  TemplateRequest -> TemplateReply

An error is RunnerFault with the HTTP status a client of the server should see. Once chunks flow,
a fault is the last line of the stream. One connection a request: closing it cancels the work.
Times are nanoseconds, sizes bytes. A runner is started with one RunnerSpec on its standard input.
"""

from typing import Any

import msgspec


class RunnerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner loads; read by the child from its standard input as one JSON line.

    Attributes:
        model_path: the weights blob.
        socket_path: where the child listens; its folder is 0700.
        slots: sequences that may run at once.
        num_ctx: tokens one slot may hold; the context has `num_ctx * slots` cells.
        num_batch: tokens in one llama_decode at most.
        num_gpu: layers on the GPU; -1 lets llama.cpp place all it can.
        main_gpu: the only GPU to use; None spreads.
        num_threads: compute threads.
        use_mmap: None leaves it to the child.
        flash_attention: None leaves it to llama.cpp.
        kv_cache_type: f16, q8_0 or q4_0.
        is_encoder: embeddings only; the batch holds a whole input.
        adapters: LoRA files.
        use_extra_buffers: False avoids CPU kernels that crash on some builds.
        prefix_sharing: False switches the reuse of evaluated prefixes off.
        chat_template: Jinja text that replaces the file's own; None keeps it.
    """

    model_path: str
    socket_path: str
    slots: int
    num_ctx: int
    num_batch: int
    num_gpu: int = -1
    main_gpu: int | None = None
    num_threads: int
    use_mmap: bool | None = None
    flash_attention: bool | None = None
    kv_cache_type: str = "f16"
    is_encoder: bool = False
    adapters: tuple[str, ...] = ()
    use_extra_buffers: bool = True
    prefix_sharing: bool = True
    chat_template: str | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """State of a runner.

    Attributes:
        status: "loading", "ok" or "error".
        error: why, when status is "error".
        completed: bytes loaded so far (of `total`) while loading.
        memory_bytes: private and shared resident memory, measured by the runner itself.
        vram_bytes: part of it on a GPU.
        slots: sequences that may run at once.
        running: sequences that run now.
        num_ctx: tokens one slot may hold, after clamping to what the model was trained for.
        heartbeat: grows with every engine step; a runner whose value stands still while
            `running` is above zero hangs.
    """

    status: str
    error: str = ""
    completed: int = 0
    total: int = 0
    memory_bytes: int = 0
    vram_bytes: int = 0
    slots: int = 0
    running: int = 0
    num_ctx: int = 0
    heartbeat: int = 0


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Sampler settings under the names the options have; defaults are the reference's."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = -1


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One generation.

    Attributes:
        prompt: text (special tokens are parsed, BOS is added when the model wants it and the text
            has none), or token ids taken as they are.
        num_ctx: tokens this sequence may hold; 0 means all a slot has.
        num_predict: tokens to generate at most; -1 means until the end or the cap.
        num_keep: tokens at the start that a context shift keeps.
        shift: whether a full context is shifted; without it the generation ends with "length",
            and an overlong prompt is refused with 400.
        truncate: whether the middle of an overlong prompt is cut; without it 400.
        stop: texts that end the answer and are not part of it.
        top_logprobs: alternatives to report a token; None reports no logprobs at all.
        grammar: constraint on the answer; None leaves it free.
        progress: whether prefill progress is reported.
    """

    prompt: str | tuple[int, ...]
    sampling: Sampling = Sampling()
    num_ctx: int = 0
    num_predict: int = -1
    num_keep: int = 4
    shift: bool = True
    truncate: bool = True
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    grammar: "Grammar | None" = None
    progress: bool = False


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    """A constraint: `kind` is json_schema, regex, choice or lark; `after` delays it.

    Attributes:
        value: the schema as JSON, the expression, the list of choices, or the grammar text.
        after: the constraint starts only once this text was generated; empty starts at once.
    """

    kind: str
    value: Any
    after: str = ""


class TokenAlternative(msgspec.Struct, frozen=True, kw_only=True):
    """A token with its bytes and natural log probability."""

    id: int
    bytes: bytes
    logprob: float


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A generated token with its alternatives, best first."""

    id: int
    bytes: bytes
    logprob: float
    top: tuple[TokenAlternative, ...] = ()


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """What one request cost: nanoseconds and tokens."""

    queue_ns: int
    prompt_tokens: int
    prompt_cached_tokens: int
    prompt_ns: int
    generated_tokens: int
    generate_ns: int


class CompletionChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of the answer, or progress before it.

    Attributes:
        text: whole UTF-8 characters.
        tokens: ids generated since the last chunk.
        logprobs: one entry a token, when asked for.
        prefill_completed: prompt tokens evaluated or cached so far, of `prefill_total`; only on
            progress records.
        done: whether this is the last chunk.
        stop_reason: "stop" or "length", on the last chunk.
        truncated_tokens: prompt tokens left out, on the last chunk.
        timings: on the last chunk.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenInfo, ...] = ()
    prefill_completed: int = 0
    prefill_total: int = 0
    done: bool = False
    stop_reason: str = ""
    truncated_tokens: int = 0
    timings: Timings | None = None


class RunnerFault(msgspec.Struct, frozen=True, kw_only=True):
    """An error of the runner; `status` is the HTTP status for the client."""

    error: str
    status: int


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts or token lists to embed, all in as few decodes as fit.

    Attributes:
        inputs: each a text or token ids.
        max_tokens: longest input accepted; 0 means what a slot holds.
        truncate: whether a longer one is cut; without it 400.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    max_tokens: int = 0
    truncate: bool = True


class EmbeddingReply(msgspec.Struct, frozen=True, kw_only=True):
    """One vector an input, [n_inputs][n_embd] float32, not normalised; tokens evaluated."""

    embeddings: tuple[tuple[float, ...], ...]
    prompt_tokens: int


class TokenizeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A text; `add_special` adds BOS and the like, `parse_special` reads their names."""

    text: str
    add_special: bool = False
    parse_special: bool = True


class TokenizeReply(msgspec.Struct, frozen=True, kw_only=True):
    """Token ids."""

    tokens: tuple[int, ...]


class DetokenizeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Token ids."""

    tokens: tuple[int, ...]


class DetokenizeReply(msgspec.Struct, frozen=True, kw_only=True):
    """Text; bytes that are no UTF-8 become U+FFFD."""

    text: str


class TemplateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Values for the model's own Jinja template: messages and tools as plain JSON."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    enable_thinking: bool | None = None
    add_generation_prompt: bool = True


class TemplateReply(msgspec.Struct, frozen=True, kw_only=True):
    """The rendered prompt."""

    prompt: str
