"""Waiting for a runner, and telling what is waited for meanwhile."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.api.types import ProgressChunk
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.scheduler.scheduler import Lease, Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is being waited for; bytes while loading, tokens in prefill."""

    status: str
    completed: int
    total: int

    def chunk(self, model: str, created_at: str) -> ProgressChunk:
        """The record that tells a client."""
        return ProgressChunk(
            model=model,
            created_at=created_at,
            status=self.status,
            completed=self.completed,
            total=self.total,
        )


class Waiting:
    """Waits for a runner, and tells what it waits for.

    Use it as a context manager; iterate over `progress` to its end, then take `lease`, which is
    given back when the context ends.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Lease], reports: "_Reports") -> None:
        """Prepare to wait.

        Args:
            manager: gives the lease.
            reports: what it reports to meanwhile.
        """
        self._reports = reports
        self._stack = AsyncExitStack()
        self._manager = manager
        self._lease: Lease | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def lease(self) -> Lease:
        """The right to use the runner.

        Raises:
            RuntimeError: `progress` has not ended yet.
        """
        if self._lease is None:
            raise RuntimeError("the lease is not there before all progress was heard")
        return self._lease

    async def progress(self) -> AsyncGenerator[Progress, None]:
        """What is waited for, each time that changes; ends when the runner is there.

        Raises:
            OllamaError: it never will be.
        """
        entering = asyncio.ensure_future(self._stack.enter_async_context(self._manager))
        try:
            while not entering.done():
                reported = asyncio.ensure_future(self._reports.changed.wait())
                await asyncio.wait((entering, reported), return_when=asyncio.FIRST_COMPLETED)
                reported.cancel()
                report = self._reports.take()
                if report is not None:
                    yield report
            self._lease = entering.result()
        finally:
            if not entering.done():
                entering.cancel()
                await asyncio.wait((entering,))


class _Reports:
    """The last report of the scheduler; earlier ones that nobody took are gone."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._latest: Progress | None = None

    def put(self, status: str, completed: int, total: int) -> None:
        """Take a report."""
        self._latest = Progress(status=status, completed=completed, total=total)
        self.changed.set()

    def take(self) -> Progress | None:
        """The last one, once."""
        latest, self._latest = self._latest, None
        self.changed.clear()
        return latest


def wait_for_runner(
    scheduler: Scheduler,
    model: Model,
    *,
    options: RunnerOptions,
    keep_alive_ns: int | None,
    shift: bool | None,
    wants_progress: bool,
) -> Waiting:
    """Begin to wait for a runner of a model; reports come only when they are wanted."""
    reports = _Reports()
    manager = scheduler.lease(
        model,
        options=options,
        keep_alive_ns=keep_alive_ns,
        shift=shift,
        on_progress=reports.put if wants_progress else None,
    )
    return Waiting(manager, reports)
