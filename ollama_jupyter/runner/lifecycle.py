"""A runner from its first breath: loading, running, failed; and what it says about itself."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ollama_jupyter.errors import Busy, OllamaError, RunnerError
from ollama_jupyter.runner.generation import Sink
from ollama_jupyter.runner.loaded import LoadedModel
from ollama_jupyter.runner.outbox import Outcome, Publish
from ollama_jupyter.runner.wire import Health, RunnerSpec

_MEMORY_SECONDS = 1.0
logger = logging.getLogger(__name__)


class Runner:
    """One model and the thread that loads and runs it.

    Attributes:
        spec: what it was told to load.
    """

    def __init__(self, spec: RunnerSpec, deliver: Publish) -> None:
        """Nothing runs until `start`.

        Args:
            spec: what to load.
            deliver: hands pieces to their sinks; called in the loop's thread.
        """
        self.spec = spec
        self._deliver = deliver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._model: LoadedModel | None = None
        self._error = ""
        self._fraction = 0.0
        self._total_bytes = Path(spec.model_path).stat().st_size
        self._memory = (0.0, 0)

    def start(self) -> None:
        """Begin to load; to be called in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def model(self) -> LoadedModel:
        """The loaded model.

        Raises:
            Busy: it still loads.
            RunnerError: it never will, or failed since.
        """
        if self._error:
            raise RunnerError(self._error)
        if self._model is None:
            raise Busy("loading model")
        return self._model

    def health(self) -> Health:
        """State, progress and memory."""
        model = self._model
        if self._error:
            return Health(status="error", error=self._error, memory_bytes=self._memory_bytes())
        if model is None:
            return Health(
                status="loading",
                completed=int(self._fraction * self._total_bytes),
                total=self._total_bytes,
                memory_bytes=self._memory_bytes(),
                slots=self.spec.slots,
            )
        return Health(
            status="ok",
            completed=self._total_bytes,
            total=self._total_bytes,
            memory_bytes=self._memory_bytes(),
            slots=self.spec.slots,
            running=model.engine.running,
            num_ctx=model.num_ctx,
            heartbeat=model.heartbeat(self._thread),
        )

    async def close(self) -> None:
        """End the engine's thread; waits for the decode it is in, which is stopped."""
        if self._model is not None:
            self._model.close()
            await asyncio.to_thread(self._thread.join, _MEMORY_SECONDS)

    def _work(self) -> None:
        """The engine's thread. What escapes it is the end of this runner, told by /health."""
        model: LoadedModel | None = None
        try:
            model = LoadedModel.load(self.spec, self._publish, self._on_progress)
            self._model = model
            model.run()
        except OllamaError as error:
            logger.error("the model cannot be run: %s", error)
            self._error = str(error)
        except Exception as error:  # the runner's main: nothing above it could say why
            logger.exception("the engine failed")
            self._error = f"the engine failed: {error!r}"
        if model is not None:
            model.engine.fail_all(RunnerError(self._error or "the runner is shutting down"))

    def _on_progress(self, fraction: float) -> None:
        self._fraction = fraction

    def _publish(self, pieces: Sequence[tuple[Sink, Outcome]]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, pieces)

    def _memory_bytes(self) -> int:
        """Resident bytes of this process, at most a second old."""
        read_at, size_bytes = self._memory
        if time.monotonic() - read_at > _MEMORY_SECONDS:
            size_bytes = resident_bytes()
            self._memory = (time.monotonic(), size_bytes)
        return size_bytes


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Resident memory of this process, shared pages included; 0 where the system does not say.

    The kernel keeps this count; adding it up from the mappings would stop the engine for
    milliseconds.
    """
    try:
        return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
