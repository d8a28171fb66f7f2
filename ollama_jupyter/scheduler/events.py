"""What can happen to the scheduler, and what it may ask for. Pure data.

Requests and runners are known by numbers that grow and never come again, so a late message about a
runner that is gone means nothing instead of the wrong thing.
"""

from dataclasses import dataclass

from ollama_jupyter.errors import OllamaError
from ollama_jupyter.scheduler.placement import Placement, Want

# --- events: what happened ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestArrived:
    """Somebody wants a runner.

    Attributes:
        request: its number, higher than every one before.
        want: the runner it needs.
        keep_alive_ns: how long the model stays after it; None leaves that as it is.
    """

    request: int
    want: Want
    keep_alive_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded:
    """A request is over: answered, failed, or its client left, waiting or not."""

    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerReady:
    """A runner can serve; what it measured replaces what was estimated.

    Attributes:
        runner: its number.
        size_bytes: memory it holds; 0 when it could not tell.
        vram_bytes: part of it on a GPU.
        num_ctx: tokens one slot holds; 0 means what was asked for.
    """

    runner: int
    size_bytes: int = 0
    vram_bytes: int = 0
    num_ctx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerExited:
    """A runner is gone and reaped.

    Attributes:
        runner: its number.
        error: why it failed to start; None when it was ready before.
    """

    runner: int
    error: OllamaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadRequested:
    """Somebody wants a model out of memory; None means all of them."""

    weights: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """The moment asked for has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The server shuts down."""


Event = (
    RequestArrived
    | RequestEnded
    | RunnerReady
    | RunnerExited
    | UnloadRequested
    | TimePassed
    | Closed
)

# --- effects: what is to be done ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRunner:
    """Start a process; it is answered by RunnerReady or RunnerExited.

    Attributes:
        runner: its number from now on.
        request: the first request it is for.
        want: what it must be able to serve.
        placement: how to start it.
    """

    runner: int
    request: int
    want: Want
    placement: Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRunner:
    """Stop a process, loading or ready; it is answered by RunnerExited."""

    runner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Let a request use a runner until it ends."""

    request: int
    runner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Fail a request that waits."""

    request: int
    error: OllamaError


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedChanged:
    """The set of loaded models is another one now."""


Effect = StartRunner | StopRunner | Grant | Refuse | LoadedChanged
