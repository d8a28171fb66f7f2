"""How much memory a runner takes, and which slots and context fit into what is free. Pure.

    estimate = weights + KV cells of all slots + compute buffers + the process itself

The estimate decides before a load; after it the scheduler goes by what the runner measured. KV
memory is taken when a context is made, so more slots than fit comfortably are never asked for: an
automatic number of slots spends a quarter of what is left after the weights, no more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from ollama_jupyter.api.options import RunnerOptions

MIN_NUM_CTX: Final = 4
DEFAULT_NUM_BATCH: Final = 512

_DEFAULT_NUM_CTX: Final = 4096
_SMALLEST_AUTOMATIC_NUM_CTX: Final = 512
_VISION_NUM_CTX: Final = 2048
_AUTOMATIC_SLOTS: Final = (8, 4, 2, 1)
_CELLS_LIMIT: Final = 65536
_KV_SHARE: Final = 0.25
# What the process holds besides the model: Python, llama.cpp, the vocabulary.
_PROCESS_BYTES: Final = 128 << 20
_EMBEDDING_ROWS: Final = 16
_FLOAT_BYTES: Final = 4

# Families whose memory or pictures do not run in several sequences ("ollama server/sched.go").
_ONE_SLOT_FAMILIES: Final = frozenset(
    {
        "mllama",
        "qwen3vl",
        "qwen3vlmoe",
        "qwen35",
        "qwen35moe",
        "qwen3next",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "nemotron_h_omni",
    }
)


class Shape(Protocol):
    """What placement needs to know of a model file; `gguf.Metadata` has it."""

    @property
    def architecture(self) -> str:
        """The family, such as "llama"."""

    @property
    def context_length(self) -> int:
        """Tokens of context it was trained with; 0 when the file does not say."""

    @property
    def embedding_length(self) -> int:
        """Width of a hidden state."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""

    @property
    def is_encoder(self) -> bool:
        """Whether it gives embeddings only."""

    @property
    def weights_bytes(self) -> int:
        """Size of all tensors."""

    def kv_cache_bytes(self, num_ctx: int, cache_type: str) -> int:
        """Size of the K and V cells of `num_ctx` tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """The runner a request needs.

    Attributes:
        weights: identity of the weights; one runner serves one of them.
        adapters: LoRA files.
        projectors: vision projectors.
        extra_bytes: size of the files of both.
        options: as the request and the model set them.
        shape: of the weights.
    """

    weights: str
    adapters: tuple[str, ...] = ()
    projectors: tuple[str, ...] = ()
    extra_bytes: int = 0
    options: RunnerOptions
    shape: Shape

    @property
    def num_ctx(self) -> int:
        """Tokens one sequence is to hold, after every bound; 0 means automatic."""
        if not self.options.num_ctx:
            return 0
        num_ctx = max(self.options.num_ctx, _VISION_NUM_CTX if self.projectors else MIN_NUM_CTX)
        return min(num_ctx, self.shape.context_length or num_ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator set.

    Attributes:
        num_parallel: slots of a runner; 0 means from free memory.
        context_length: num_ctx where a request has none; 0 means automatic.
        kv_cache_type: f16, q8_0 or q4_0.
    """

    num_parallel: int = 0
    context_length: int = 0
    kv_cache_type: str = "f16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes this process may use: free now, and in all."""

    available_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a runner is started, and what it is estimated to take."""

    slots: int
    num_ctx: int
    num_batch: int
    size_bytes: int


def placements(want: Want, policy: Policy, room_bytes: int) -> Iterator[Placement]:
    """Every way to run it, best first; only the last ones may be larger than the room.

    Args:
        want: what is to run.
        policy: what the operator set.
        room_bytes: memory that the number of slots is measured against.
    """
    shape = want.shape
    num_ctx = want.num_ctx or _automatic_num_ctx(want, policy)
    fixed_bytes = shape.weights_bytes + want.extra_bytes + _PROCESS_BYTES
    kv_room_bytes = _KV_SHARE * max(room_bytes - fixed_bytes, 0)
    for slots in _slot_counts(want, policy):
        placement = _placement(want, policy, slots, num_ctx)
        kv_bytes = _kv_bytes(want, policy, slots, num_ctx)
        is_automatic = not policy.num_parallel and slots > 1
        if is_automatic and (kv_bytes > kv_room_bytes or slots * num_ctx > _CELLS_LIMIT):
            continue
        yield placement
    while not want.num_ctx and num_ctx // 2 >= _SMALLEST_AUTOMATIC_NUM_CTX:
        num_ctx //= 2
        yield _placement(want, policy, _slot_counts(want, policy)[-1], num_ctx)


def choose(want: Want, policy: Policy, room_bytes: int) -> Placement | None:
    """The best way to run it within the room; None when there is none."""
    for placement in placements(want, policy, room_bytes):
        if placement.size_bytes <= room_bytes:
            return placement
    return None


def smallest_bytes(want: Want, policy: Policy) -> int:
    """What it takes at least."""
    return min(placement.size_bytes for placement in placements(want, policy, 0))


def can_serve(loaded: Want, placement: Placement, want: Want) -> bool:
    """Whether a runner loaded for one request serves another as well.

    Sampling options never matter. A smaller num_ctx does not: a sequence is limited to its own.
    """
    return (
        loaded.adapters == want.adapters
        and loaded.projectors == want.projectors
        and want.num_ctx <= placement.num_ctx
        and want.options.num_batch in (DEFAULT_NUM_BATCH, loaded.options.num_batch)
        and want.options.num_gpu in (-1, loaded.options.num_gpu)
        and want.options.main_gpu == loaded.options.main_gpu
        and want.options.use_mmap in (None, loaded.options.use_mmap)
        and want.options.num_thread == loaded.options.num_thread
    )


def _automatic_num_ctx(want: Want, policy: Policy) -> int:
    num_ctx = max(policy.context_length or _DEFAULT_NUM_CTX, MIN_NUM_CTX)
    if want.projectors:
        num_ctx = max(num_ctx, _VISION_NUM_CTX)
    return min(num_ctx, want.shape.context_length or num_ctx)


def _slot_counts(want: Want, policy: Policy) -> tuple[int, ...]:
    if want.shape.architecture in _ONE_SLOT_FAMILIES:
        return (1,)
    return (policy.num_parallel,) if policy.num_parallel else _AUTOMATIC_SLOTS


def _kv_bytes(want: Want, policy: Policy, slots: int, num_ctx: int) -> int:
    if want.shape.is_encoder:
        return 0
    return want.shape.kv_cache_bytes(slots * num_ctx, policy.kv_cache_type)


def _placement(want: Want, policy: Policy, slots: int, num_ctx: int) -> Placement:
    shape = want.shape
    # An encoder reads a whole input at once; its batch is its context.
    num_batch = num_ctx if shape.is_encoder else min(want.options.num_batch, slots * num_ctx)
    row_floats = _EMBEDDING_ROWS * shape.embedding_length
    if not shape.is_encoder:
        row_floats += shape.vocab_size
    return Placement(
        slots=slots,
        num_ctx=num_ctx,
        num_batch=num_batch,
        size_bytes=shape.weights_bytes
        + want.extra_bytes
        + _PROCESS_BYTES
        + _kv_bytes(want, policy, slots, num_ctx)
        + num_batch * row_floats * _FLOAT_BYTES,
    )
