"""The scheduler's decisions: an event, a time and the memory go in, effects come out. Pure.

    request ──▶ queue ──▶ boarded on a runner ──▶ granted a slot ──▶ ended
                  │ first in, first out           (at most `slots` at once)
                  ▼
    runner   LOADING ──▶ READY ──▶ STOPPING ──▶ gone
                         drains while the queue's head needs its room

Only the head of the queue makes room: it marks one victim after another as draining. A draining
runner takes nobody new but serves those who boarded before, so nothing is interrupted and nobody
is passed over by more than those who already wait. Everybody in the queue a new runner can serve
boards it at once: one start, however many wait.
"""

import copy
from dataclasses import replace
from typing import Final

from ollama_jupyter.errors import Busy, InsufficientMemory, OllamaError
from ollama_jupyter.quantities import FOREVER_NS, human_bytes_binary
from ollama_jupyter.scheduler.events import (
    Closed,
    Effect,
    Event,
    Grant,
    LoadedChanged,
    Refuse,
    RequestArrived,
    RequestEnded,
    RunnerExited,
    RunnerReady,
    StartRunner,
    StopRunner,
    TimePassed,
    UnloadRequested,
)
from ollama_jupyter.scheduler.placement import (
    Memory,
    Placement,
    Policy,
    choose,
    smallest_bytes,
)
from ollama_jupyter.scheduler.records import Runner, Status, Waiter

# The reference's text, with its two blanks.
BUSY_TEXT: Final = "server busy, please try again.  maximum pending requests exceeded"
_CLOSED_TEXT: Final = "the server is shutting down"
# Beside other models a load may fill this share of what is free; estimates are not exact.
_SHARED_FILL_PERCENT: Final = 80


class State:
    """All the scheduler knows.

    Attributes:
        runners: by number, in the order they were started.
        waiters: by request, in the order they came.
    """

    def __init__(
        self, policy: Policy, *, max_queue: int, max_loaded: int, keep_alive_ns: int
    ) -> None:
        """Begin with nothing loaded.

        Args:
            policy: how runners are placed.
            max_queue: requests that may wait beyond the slots there are.
            max_loaded: runners at once.
            keep_alive_ns: for requests that say nothing.
        """
        self.runners: dict[int, Runner] = {}
        self.waiters: dict[int, Waiter] = {}
        self._policy = policy
        self._max_queue = max_queue
        self._max_loaded = max_loaded
        self._keep_alive_ns = keep_alive_ns
        self._is_closed = False
        self._last_runner = 0
        self._drained: set[int] = set()
        self._now_ns = 0
        self._memory = Memory(available_bytes=0, total_bytes=0)
        self._effects: list[Effect] = []

    @property
    def wake_at_ns(self) -> int | None:
        """When TimePassed is due next, monotonic; None for never."""
        times = [
            runner.expires_at_ns
            for runner in self.runners.values()
            if runner.status is Status.READY and runner.expires_at_ns is not None
        ]
        return min(times, default=None)

    def handle(self, event: Event, *, now_ns: int, memory: Memory) -> list[Effect]:
        """Take an event; what is to be done about it, in order.

        Args:
            event: what happened.
            now_ns: monotonic time.
            memory: as measured now.
        """
        self._effects, self._now_ns, self._memory = [], now_ns, memory
        loaded = self._loaded()
        match event:
            case RequestArrived():
                self._arrive(event)
            case RequestEnded():
                self._end(event.request)
            case RunnerReady():
                self._ready(event)
            case RunnerExited():
                self._exited(event)
            case UnloadRequested():
                self._unload(event.weights)
            case TimePassed():
                pass
            case Closed():
                self._close()
        self._advance()
        if self._loaded() != loaded:
            self._effects.append(LoadedChanged())
        return self._effects

    # --- events -------------------------------------------------------------------------------

    def _arrive(self, event: RequestArrived) -> None:
        waiter = Waiter(request=event.request, want=event.want, keep_alive_ns=event.keep_alive_ns)
        self.waiters[event.request] = waiter
        if self._is_closed:
            self._refuse(waiter, Busy(_CLOSED_TEXT))
            return
        self._advance()
        if event.request in self.waiters and self._waiting_without_a_slot() > self._max_queue:
            self._refuse(waiter, Busy(BUSY_TEXT))

    def _end(self, request: int) -> None:
        self.waiters.pop(request, None)
        for runner in self.runners.values():
            if request in runner.leases:
                runner.leases.remove(request)
                self._rest(runner)

    def _ready(self, event: RunnerReady) -> None:
        runner = self.runners.get(event.runner)
        if runner is None or runner.status is not Status.LOADING:
            return
        runner.status = Status.READY
        # Weights that are mapped count fully, whether or not they were all touched yet.
        measured = max(event.size_bytes, runner.want.shape.weights_bytes)
        runner.size_bytes = measured if event.size_bytes else runner.size_bytes
        runner.vram_bytes = min(event.vram_bytes, runner.size_bytes)
        if event.num_ctx:
            runner.placement = replace(runner.placement, num_ctx=event.num_ctx)
        self._rest(runner)

    def _exited(self, event: RunnerExited) -> None:
        runner = self.runners.pop(event.runner, None)
        if runner is None:
            return
        for waiter in self._boarded(runner):
            waiter.runner = None
            if event.error is not None and runner.status is Status.LOADING:
                self._refuse(waiter, copy.copy(event.error))

    def _unload(self, weights: str | None) -> None:
        for runner in self.runners.values():
            if weights not in (None, runner.want.weights):
                continue
            runner.keep_alive_ns = 0
            if not runner.leases:
                self._rest(runner)
            for waiter in self._boarded(runner):
                waiter.keep_alive_ns = None

    def _close(self) -> None:
        self._is_closed = True
        for waiter in list(self.waiters.values()):
            self._refuse(waiter, Busy(_CLOSED_TEXT))
        for runner in self.runners.values():
            self._stop(runner)

    # --- what follows from them -----------------------------------------------------------------

    def _advance(self) -> None:
        """Do all that has become possible; doing it twice changes nothing."""
        self._drained = {it.number for it in self.runners.values() if it.is_draining}
        for runner in self.runners.values():
            runner.is_draining = False
        while head := self._head():
            if not self._find_place(head):
                break
        for waiter in self._queue():
            resident = self._runner_of(waiter.want.weights)
            if resident is not None and resident.can_board(waiter.want):
                waiter.runner = resident.number
        for waiter in list(self.waiters.values()):
            self._grant_if_free(waiter)
        for runner in self.runners.values():
            if not runner.leases and not self._boarded(runner) and self._is_over(runner):
                self._stop(runner)

    def _is_over(self, runner: Runner) -> bool:
        """Whether a runner that nobody uses or waits for should go."""
        if runner.status is Status.LOADING or runner.is_draining:
            return True
        return runner.expires_at_ns is not None and runner.expires_at_ns <= self._now_ns

    def _grant_if_free(self, waiter: Waiter) -> None:
        runner = self.runners.get(waiter.runner) if waiter.runner is not None else None
        if runner is None or runner.status is not Status.READY:
            return
        if len(runner.leases) >= runner.placement.slots:
            return
        del self.waiters[waiter.request]
        runner.leases.add(waiter.request)
        runner.used_at_ns = self._now_ns
        runner.expires_at_ns = None
        if waiter.keep_alive_ns is not None:
            runner.keep_alive_ns = waiter.keep_alive_ns
        self._effects.append(Grant(request=waiter.request, runner=runner.number))

    def _find_place(self, head: Waiter) -> bool:
        """Board the queue's head, start its runner, or refuse it; False when it has to wait."""
        runner = self._runner_of(head.want.weights)
        if runner is None:
            return self._start(head)
        if runner.can_board(head.want):
            head.runner = runner.number
            return True
        if runner.status is not Status.STOPPING:
            runner.is_draining = True
        return False

    def _start(self, head: Waiter) -> bool:
        wanted_bytes = smallest_bytes(head.want, self._policy)
        capacity_bytes = self._capacity_bytes()
        if wanted_bytes > capacity_bytes:
            self._refuse(head, _insufficient(wanted_bytes, capacity_bytes))
            return True
        if len(self.runners) >= self._max_loaded:
            self._make_room()
            return False
        room_bytes = self._room_bytes()
        if self.runners:
            room_bytes = room_bytes * _SHARED_FILL_PERCENT // 100
        placement = choose(head.want, self._policy, room_bytes)
        if placement is not None:
            self._launch(head, placement)
            return True
        # With nothing loaded the room is all there is, so there is somebody to wait for.
        if not any(runner.status is Status.LOADING for runner in self.runners.values()):
            self._make_room()
        return False

    def _launch(self, head: Waiter, placement: Placement) -> None:
        self._last_runner += 1
        keep_alive_ns = head.keep_alive_ns
        runner = Runner(
            number=self._last_runner,
            want=head.want,
            placement=placement,
            keep_alive_ns=self._keep_alive_ns if keep_alive_ns is None else keep_alive_ns,
            used_at_ns=self._now_ns,
            size_bytes=placement.size_bytes,
        )
        self.runners[runner.number] = runner
        head.runner = runner.number
        self._effects.append(
            StartRunner(
                runner=runner.number, request=head.request, want=head.want, placement=placement
            )
        )

    def _make_room(self) -> None:
        """Let one ready runner drain, unless one is on its way out already."""
        if any(runner.status is Status.STOPPING for runner in self.runners.values()):
            return
        ready = [runner for runner in self.runners.values() if runner.status is Status.READY]
        victim = min(ready, key=self._worth, default=None)
        if victim is not None:
            victim.is_draining = True

    def _worth(self, runner: Runner) -> tuple[bool, bool, int, int]:
        """Sorts by what is lost when it goes: idle first, then shortest keep-alive, then oldest.

        A busy victim stays the victim, or two of them that take turns would never drain.
        """
        is_used = bool(runner.leases or self._boarded(runner))
        is_new_victim = runner.number not in self._drained
        return is_used, is_new_victim, runner.keep_alive_ns, runner.used_at_ns

    def _rest(self, runner: Runner) -> None:
        """Set when an unused runner goes, counted from now."""
        runner.used_at_ns = self._now_ns
        runner.expires_at_ns = None
        if not runner.leases and runner.keep_alive_ns < FOREVER_NS:
            runner.expires_at_ns = self._now_ns + runner.keep_alive_ns

    def _stop(self, runner: Runner) -> None:
        if runner.status is not Status.STOPPING:
            runner.status = Status.STOPPING
            runner.expires_at_ns = None
            self._effects.append(StopRunner(runner=runner.number))

    def _refuse(self, waiter: Waiter, error: OllamaError) -> None:
        del self.waiters[waiter.request]
        self._effects.append(Refuse(request=waiter.request, error=error))

    # --- sums -----------------------------------------------------------------------------------

    def _loaded(self) -> list[int]:
        return [number for number, it in self.runners.items() if it.status is Status.READY]

    def _runner_of(self, weights: str) -> Runner | None:
        return next((it for it in self.runners.values() if it.want.weights == weights), None)

    def _queue(self) -> list[Waiter]:
        return [waiter for waiter in self.waiters.values() if waiter.runner is None]

    def _head(self) -> Waiter | None:
        return next((waiter for waiter in self.waiters.values() if waiter.runner is None), None)

    def _boarded(self, runner: Runner) -> list[Waiter]:
        return [waiter for waiter in self.waiters.values() if waiter.runner == runner.number]

    def _waiting_without_a_slot(self) -> int:
        """Requests that wait beyond the slots that are free, or will be after a load."""
        count = len(self._queue())
        for runner in self.runners.values():
            free = runner.placement.slots - len(runner.leases)
            count += max(len(self._boarded(runner)) - free, 0)
        return count

    def _room_bytes(self) -> int:
        """Memory for another runner, by what is free and by what the others are known to need.

        A runner that loads has not taken yet what it will, and the weights of one that is loaded
        may be mapped and count as free; so both bounds are needed.
        """
        loading = [it.host_bytes for it in self.runners.values() if it.status is Status.LOADING]
        free_bytes = self._memory.available_bytes - sum(loading)
        unclaimed_bytes = self._memory.total_bytes - self._held_bytes()
        return max(min(free_bytes, unclaimed_bytes), 0)

    def _capacity_bytes(self) -> int:
        """Memory there would be with every runner gone."""
        return min(self._memory.total_bytes, self._memory.available_bytes + self._held_bytes())

    def _held_bytes(self) -> int:
        return sum(runner.host_bytes for runner in self.runners.values())


def _insufficient(wanted_bytes: int, free_bytes: int) -> InsufficientMemory:
    return InsufficientMemory(
        f"model requires more system memory ({human_bytes_binary(wanted_bytes)})"
        f" than is available ({human_bytes_binary(free_bytes)})",
        wanted_bytes=wanted_bytes,
        free_bytes=free_bytes,
    )
