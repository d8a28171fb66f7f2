"""The shell around `State`: carries out its effects with processes, futures and one timer.

Everything happens in the event loop's thread and `_feed` never waits, so the state needs no lock
and every event sees the one before it carried out. A runner has one task, from start to reap; when
that task is done, and only then, the state hears that the runner is gone.
"""

import asyncio
import functools
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.config import Config
from ollama_jupyter.errors import OllamaError, RunnerDied, RunnerError
from ollama_jupyter.quantities import FOREVER_NS, SECOND_NS
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.runner.plain_builds import PlainBuilds
from ollama_jupyter.runner.process import (
    RUNNER_COMMAND,
    Progress,
    RunnerProcess,
)
from ollama_jupyter.scheduler import launch
from ollama_jupyter.scheduler.devices import Devices
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
from ollama_jupyter.scheduler.records import Runner, Status
from ollama_jupyter.scheduler.resident import Request, Resident
from ollama_jupyter.scheduler.state import State

logger = logging.getLogger(__name__)

_MODELS_PER_GPU: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to one slot of a runner.

    Attributes:
        runner: speaks to it.
        num_ctx: tokens the request's sequence may hold.
        load_ns: how much of the wait was loading.
        queue_ns: the rest of the wait.
    """

    runner: RunnerClient
    num_ctx: int
    load_ns: int
    queue_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRunner:
    """A loaded model as `ps` shows it.

    Attributes:
        model: under the name that loaded it.
        size_bytes: memory it holds.
        vram_bytes: part of it on a GPU.
        expires_at_ns: when it will be unloaded, wall clock; a running request moves it.
        num_ctx: tokens one slot holds.
        running: requests that use it.
        slots: requests that may.
    """

    model: Model
    size_bytes: int
    vram_bytes: int
    expires_at_ns: int
    num_ctx: int
    running: int
    slots: int


class Scheduler:
    """Lends slots of runners to requests; loads and unloads models to that end.

    Attributes:
        on_change: called without arguments whenever the set of loaded models changed.
    """

    def __init__(
        self,
        config: Config,
        *,
        command: tuple[str, ...] = RUNNER_COMMAND,
        devices: Devices | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Begin with nothing loaded; whoever made it closes it.

        Args:
            config: limits, policy and folders.
            command: the program a runner is.
            devices: measures memory and cores; None measures this machine.
            wall_ns: the time of day, for showing when a model expires.
        """
        self.on_change: list[Callable[[], None]] = []
        self._config = config
        self._command = command
        self._devices = devices or Devices(limit_bytes=config.memory_limit_bytes)
        self._wall_ns = wall_ns
        self._plain_builds = PlainBuilds(config.user_dir)
        self._launcher = launch.Launcher(config, self._devices)
        self._state = State(
            self._launcher.policy,
            max_queue=config.max_queue,
            max_loaded=config.max_loaded_models or _MODELS_PER_GPU * max(self._devices.gpus(), 1),
            keep_alive_ns=config.keep_alive_ns,
        )
        self._numbers = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._residents: dict[int, Resident] = {}
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def lease(
        self,
        model: Model,
        *,
        options: RunnerOptions,
        keep_alive_ns: int | None = None,
        shift: bool | None = None,  # noqa: ARG002 - a runner shifts per request, no reload
        on_progress: Progress | None = None,
    ) -> AsyncIterator[Lease]:
        """A slot of a runner that has the model, for as long as the context lasts.

        Args:
            model: what to run.
            options: what the runner must have been loaded with.
            keep_alive_ns: how long the model stays afterwards; negative for ever, None as it is.
            shift: whether a full context is shifted; told to the runner with each request.
            on_progress: told "queued", or "loading" with bytes loaded and their total.

        Raises:
            Busy: too many wait already.
            InsufficientMemory: it will not fit.
            NotFound: the weights are gone.
            RunnerStartFailed: the runner would not start.
            RunnerDied: it ended while it was lent.
        """
        number = next(self._numbers)
        request = Request(
            model=model,
            on_progress=on_progress,
            asked_ns=time.monotonic_ns(),
            granted=asyncio.get_running_loop().create_future(),
        )
        self._requests[number] = request
        try:
            want = launch.want(model, options)
            keep_alive_ns = FOREVER_NS if keep_alive_ns and keep_alive_ns < 0 else keep_alive_ns
            self._feed(RequestArrived(request=number, want=want, keep_alive_ns=keep_alive_ns))
            self._say_what_it_waits_for(number)
            resident, loaded_ctx = await request.granted
            waited_ns = time.monotonic_ns() - request.asked_ns
            load_ns = resident.load_ns_since(request.asked_ns)
            try:
                yield Lease(
                    runner=resident.client,
                    num_ctx=min(want.num_ctx or loaded_ctx, loaded_ctx),
                    load_ns=load_ns,
                    queue_ns=waited_ns - load_ns,
                )
            except RunnerDied as error:
                raise await resident.explain(error) from error
            except RunnerError:
                await resident.stop_if_failed()
                raise
        finally:
            del self._requests[number]
            self._feed(RequestEnded(request=number))

    def loaded(self) -> list[LoadedRunner]:
        """The loaded models, the one that expires last first."""
        shown = [
            self._shown(runner)
            for runner in self._state.runners.values()
            if runner.status is Status.READY
        ]
        return sorted(shown, key=lambda it: it.expires_at_ns, reverse=True)

    async def unload(self, model: Model) -> None:
        """Unload a model once nobody uses it; when nobody does, it is gone on return."""
        await self._unload(str(model.weights))

    async def unload_all(self) -> None:
        """Unload every model, as `unload`."""
        await self._unload(None)

    async def close(self) -> None:
        """Stop every runner at once and refuse everybody who waits; returns when all is reaped."""
        self._feed(Closed())
        await self._wait_for_tasks(list(self._residents.values()))
        if self._timer is not None:
            self._timer.cancel()

    # --- events and effects ---------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        effects = self._state.handle(
            event, now_ns=time.monotonic_ns(), memory=self._devices.memory()
        )
        for effect in effects:
            self._carry_out(effect)
        for number, resident in self._residents.items():
            if resident.process is not None and number in self._state.runners:
                resident.process.set_busy(bool(self._state.runners[number].leases))
        self._set_timer()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case StartRunner():
                self._start(effect)
            case StopRunner():
                task = self._residents[effect.runner].task
                if task is not None:
                    task.cancel()
            case Grant():
                granted = self._requests[effect.request].granted
                if not granted.done():
                    loaded_ctx = self._state.runners[effect.runner].placement.num_ctx
                    granted.set_result((self._residents[effect.runner], loaded_ctx))
            case Refuse():
                granted = self._requests[effect.request].granted
                if not granted.done():
                    granted.set_exception(effect.error)
                    granted.exception()  # it may be that nobody is there any more to look
            case LoadedChanged():
                for callback in self.on_change:
                    callback()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at_ns = self._state.wake_at_ns
        if wake_at_ns is not None:
            seconds = max(wake_at_ns - time.monotonic_ns(), 0) / SECOND_NS
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._feed, TimePassed())

    # --- runners --------------------------------------------------------------------------------

    def _start(self, effect: StartRunner) -> None:
        model = self._requests[effect.request].model
        resident = Resident(model=model, started_ns=time.monotonic_ns())
        self._residents[effect.runner] = resident
        resident.task = asyncio.create_task(
            self._run(effect, resident), name=f"runner {effect.runner} {model.name}"
        )
        resident.task.add_done_callback(functools.partial(self._ended, effect.runner))

    async def _run(self, effect: StartRunner, resident: Resident) -> OllamaError | None:
        """See a runner from start to end; why it did not start, None when it did.

        Being cancelled is how it is stopped.
        """
        try:
            resident.process = await RunnerProcess.start(
                self._launcher.spec(resident.model, effect.want, effect.placement),
                plain_builds=self._plain_builds,
                command=self._command,
            )
            health = await resident.process.ready(
                self._config.load_timeout_ns, functools.partial(self._tell, effect.runner)
            )
            resident.ready_ns = time.monotonic_ns()
            self._feed(
                RunnerReady(
                    runner=effect.runner,
                    size_bytes=health.memory_bytes,
                    vram_bytes=health.vram_bytes,
                    num_ctx=health.num_ctx,
                )
            )
            await asyncio.wait([resident.process.exited])
            logger.warning(
                "the runner of %s ended: %s", resident.model.name, resident.process.died()
            )
        except OllamaError as error:
            logger.warning("cannot load %s: %s", resident.model.name, error)
            return launch.with_hint(error, resident.model)
        finally:
            if resident.process is not None:
                await resident.process.stop()
        return None

    def _ended(self, number: int, task: "asyncio.Task[OllamaError | None]") -> None:
        """Tell the state, however the task ended: even one that was cancelled before it began."""
        del self._residents[number]
        error: OllamaError | None = None
        if not task.cancelled():
            failure = task.exception()
            if failure is not None:
                logger.error("the task of a runner failed", exc_info=failure)
                error = RunnerError(f"cannot run the model: {failure}")
            else:
                error = task.result()
        self._feed(RunnerExited(runner=number, error=error))

    async def _unload(self, weights: str | None) -> None:
        self._feed(UnloadRequested(weights=weights))
        await self._wait_for_tasks(
            [
                self._residents[number]
                for number, runner in self._state.runners.items()
                if runner.status is Status.STOPPING and weights in (None, runner.want.weights)
            ]
        )

    async def _wait_for_tasks(self, residents: list[Resident]) -> None:
        tasks = [resident.task for resident in residents if resident.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    # --- what others are told -------------------------------------------------------------------

    def _shown(self, runner: Runner) -> LoadedRunner:
        left_ns = runner.keep_alive_ns
        if runner.expires_at_ns is not None:
            left_ns = max(runner.expires_at_ns - time.monotonic_ns(), 0)
        return LoadedRunner(
            model=self._residents[runner.number].model,
            size_bytes=runner.size_bytes,
            vram_bytes=runner.vram_bytes,
            expires_at_ns=self._wall_ns() + left_ns,
            num_ctx=runner.placement.num_ctx,
            running=len(runner.leases),
            slots=runner.placement.slots,
        )

    def _say_what_it_waits_for(self, number: int) -> None:
        waiter = self._state.waiters.get(number)
        if waiter is None:
            return
        runner = self._state.runners.get(waiter.runner) if waiter.runner is not None else None
        is_loading = runner is not None and runner.status is Status.LOADING
        on_progress = self._requests[number].on_progress
        if on_progress is not None:
            on_progress("loading" if is_loading else "queued", 0, 0)

    def _tell(self, runner: int, status: str, completed: int, total: int) -> None:
        """Pass a load's progress on to everybody who waits for it."""
        for number, waiter in self._state.waiters.items():
            on_progress = self._requests[number].on_progress
            if waiter.runner == runner and on_progress is not None:
                on_progress(status, completed, total)
