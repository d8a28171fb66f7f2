"""The live side of a runner and of a request: the process, the task, and who is to be told."""

import asyncio
from dataclasses import dataclass

from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import OllamaError, RunnerDied, RunnerError
from ollama_jupyter.quantities import FOREVER_NS
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.runner.process import Progress, RunnerProcess

_DEATH_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Resident:
    """A runner's process and the task that sees it from start to reap.

    Attributes:
        model: under the name that loaded it.
        started_ns: when its load began, monotonic.
        ready_ns: when it could serve; FOREVER_NS before.
        process: None until it is spawned.
        task: None only while it is being made.
    """

    model: Model
    started_ns: int
    ready_ns: int = FOREVER_NS
    process: RunnerProcess | None = None
    task: asyncio.Task[OllamaError | None] | None = None

    @property
    def client(self) -> RunnerClient:
        """Speaks to it; only one that is ready has one."""
        if self.process is None:
            raise RunnerError("a runner was lent before it had a process")
        return self.process.client

    def load_ns_since(self, asked_ns: int) -> int:
        """How long somebody who asked then waited for the load."""
        return max(self.ready_ns - max(self.started_ns, asked_ns), 0)

    async def explain(self, error: RunnerDied) -> RunnerDied:
        """Why it broke a connection; a runner that lives on is stopped.

        When this returns its task is done, so the next request gets a fresh one.
        """
        if self.process is None or self.task is None:
            return error
        await asyncio.wait([self.task], timeout=_DEATH_SECONDS)
        if not self.task.done():
            await self._stop(self.process, self.task)
        return self.process.died()

    async def stop_if_failed(self) -> None:
        """Stop a runner whose engine failed while its process lives on."""
        if self.process is not None and self.task is not None and not await self.process.is_well():
            await self._stop(self.process, self.task)

    async def _stop(self, process: RunnerProcess, task: asyncio.Task[OllamaError | None]) -> None:
        await process.stop()
        await asyncio.wait([task])


@dataclass(slots=True, kw_only=True)
class Request:
    """Somebody who asked for a lease.

    Attributes:
        model: what is to run.
        on_progress: told what it waits for; None tells nobody.
        asked_ns: when, monotonic.
        granted: yields a runner and the tokens one of its slots holds.
    """

    model: Model
    on_progress: Progress | None
    asked_ns: int
    granted: asyncio.Future[tuple[Resident, int]]
