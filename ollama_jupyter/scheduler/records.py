"""What the scheduler knows of one runner and of one request that waits; `State` writes both."""

from dataclasses import dataclass, field
from enum import Enum

from ollama_jupyter.scheduler.placement import Placement, Want, can_serve


class Status(Enum):
    """Where a runner is in its life."""

    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(slots=True, kw_only=True)
class Runner:
    """A runner as the scheduler knows it; written by `State` alone.

    Attributes:
        number: names it in events and effects.
        want: what it was started for.
        placement: how.
        status: where it is in its life.
        is_draining: whether it takes nobody new because its room is needed.
        keep_alive_ns: how long it stays after its last request.
        used_at_ns: when it was last granted or given back, monotonic.
        expires_at_ns: when it is to stop, monotonic; None while it is in use or stays forever.
        leases: requests that use it.
        size_bytes: memory it holds: estimated while loading, measured after.
        vram_bytes: part of it on a GPU.
    """

    number: int
    want: Want
    placement: Placement
    status: Status = Status.LOADING
    is_draining: bool = False
    keep_alive_ns: int
    used_at_ns: int
    expires_at_ns: int | None = None
    leases: set[int] = field(default_factory=set)
    size_bytes: int
    vram_bytes: int = 0

    @property
    def host_bytes(self) -> int:
        """Memory it holds outside GPUs."""
        return self.size_bytes - self.vram_bytes

    def can_board(self, want: Want) -> bool:
        """Whether a request may wait for one of its slots."""
        return (
            self.status is not Status.STOPPING
            and not self.is_draining
            and can_serve(self.want, self.placement, want)
        )


@dataclass(slots=True, kw_only=True)
class Waiter:
    """A request without a slot; `runner` is the one it boarded, None while it queues."""

    request: int
    want: Want
    keep_alive_ns: int | None
    runner: int | None = None
