"""Models as placement sees them, and wants for them."""

from dataclasses import dataclass

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.scheduler.placement import Memory, Want

MIB = 1 << 20
GIB = 1 << 30
PLENTY = Memory(available_bytes=64 * GIB, total_bytes=64 * GIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeShape:
    """A model whose K and V cells take `cell_bytes` a token in f16."""

    architecture: str = "llama"
    context_length: int = 8192
    embedding_length: int = 512
    vocab_size: int = 1000
    is_encoder: bool = False
    weights_bytes: int = 100 * MIB
    cell_bytes: int = 1024

    def kv_cache_bytes(self, num_ctx: int, cache_type: str) -> int:
        return num_ctx * self.cell_bytes // (1 if cache_type == "f16" else 2)


def want_for(
    weights: str = "a",
    *,
    shape: FakeShape | None = None,
    adapters: tuple[str, ...] = (),
    projectors: tuple[str, ...] = (),
    options: RunnerOptions | None = None,
) -> Want:
    """A want for a small model."""
    return Want(
        weights=weights,
        adapters=adapters,
        projectors=projectors,
        options=options or RunnerOptions(),
        shape=shape or FakeShape(),
    )
