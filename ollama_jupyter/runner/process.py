"""A runner's process as the server sees it: spawned, watched, stopped, and always reaped.

    start() ──▶ spawned ──ready()──▶ healthy ──▶ exited
                   │  ▲                 │ hangs: killed
    dies of a CPU  └──┘ once more,      ▼
    feature             plain kernels  exited

One task, `_supervise`, owns the child from spawn to reap; everything else only asks it. The child's
standard input stays open as its life pipe: it ends when the server does. Its environment is a list
of allowed variables, so no key of the server's reaches a process that runs other people's models.
Each child has a folder of its own (0700) for its socket, removed with it.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from ollama_jupyter.errors import RunnerDied, RunnerError, RunnerStartFailed
from ollama_jupyter.runner.client import DIED_TEXT, RunnerClient
from ollama_jupyter.runner.liveness import LOOK_SECONDS, LoadWatch, Pulse, work_of
from ollama_jupyter.runner.log_tail import LogTail
from ollama_jupyter.runner.plain_builds import PlainBuilds
from ollama_jupyter.runner.wire import Health, RunnerSpec

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

RUNNER_COMMAND: Final = (sys.executable, "-P", "-m", "ollama_jupyter.runner")

_TERM_SECONDS: Final = 2.0
_LOG_END_SECONDS: Final = 1.0
_FIRST_POLL_SECONDS: Final = 0.02
_LAST_POLL_SECONDS: Final = 0.25
_SOCKET_PATH_LIMIT: Final = 100  # the system's own is 107 bytes and an end mark
_CPU_DEATHS: Final = (-signal.SIGILL, -signal.SIGSEGV, -signal.SIGBUS)

# fmt: off
_ALLOWED_NAMES: Final = frozenset({
    "PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME",
    "VIRTUAL_ENV", "OLLAMA_DEBUG", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER",
    "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL",
    "HSA_OVERRIDE_GFX_VERSION",
})
# fmt: on
_ALLOWED_PREFIXES: Final = ("LC_", "GGML_", "LLAMA_", "OMP_", "GOMP_")


class RunnerProcess:
    """One runner, from its spawn to its end; whoever started it stops it.

    Attributes:
        spec: what it was started with; its `use_extra_buffers` changes on a second try.
        client: speaks to it.
        exited: its exit code, negative for a signal, once it is reaped and will not be retried.
        is_hung: whether it was killed because it hung.
    """

    def __init__(
        self, spec: RunnerSpec, command: tuple[str, ...], plain_builds: PlainBuilds
    ) -> None:
        """Use `start`."""
        if plain_builds.has_current():
            spec = msgspec.structs.replace(spec, use_extra_buffers=False)
        self.spec = spec
        self.client = RunnerClient(Path(spec.socket_path))
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.is_hung = False
        self._command = command
        self._plain_builds = plain_builds
        self._child: asyncio.subprocess.Process | None = None
        self._spawned = asyncio.Event()
        self._busy = asyncio.Event()
        self._log = LogTail()
        self._is_healthy = False
        self._is_stopping = False
        self._was_retried = False
        self._spawn_error = ""
        self._supervising = asyncio.create_task(self._supervise(), name="runner supervise")
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        spec: RunnerSpec,
        *,
        plain_builds: PlainBuilds,
        command: tuple[str, ...] = RUNNER_COMMAND,
    ) -> Self:
        """A runner whose process exists; it may still be loading.

        Args:
            spec: what to load; the folder of its socket is removed at the end.
            plain_builds: builds that must run without their fastest kernels.
            command: the program and its arguments.

        Raises:
            RunnerStartFailed: the system would not start a process.
        """
        process = cls(spec, command, plain_builds)
        try:
            await process._spawned.wait()
            if process._spawn_error:
                raise process._start_failure()
        except BaseException:
            await process.stop()
            raise
        return process

    @property
    def pid(self) -> int:
        """Process id of the child that runs now, or ran last."""
        return self._child.pid if self._child else 0

    @property
    def log_tail(self) -> str:
        """The last of what it wrote on standard error, 8 KiB at most."""
        return self._log.text

    async def ready(self, stall_timeout_ns: int, on_progress: Progress | None = None) -> Health:
        """Its health, once it can serve.

        Args:
            stall_timeout_ns: longest time without any sign of progress (bytes loaded, log output).
            on_progress: told "loading", bytes loaded, and their total.

        Raises:
            RunnerStartFailed: it ended, reported an error, stalled or hung; it is stopped then.
        """
        try:
            health = await self._poll_until_ready(stall_timeout_ns, on_progress)
        except BaseException:
            await self.stop()
            raise
        self._is_healthy = True
        if self._was_retried:
            self._plain_builds.add_current()
        self._watching = asyncio.create_task(self._watch(), name="runner watch")
        return health

    def set_busy(self, is_busy: bool) -> None:
        """Say whether it has work; only then is it looked at whether it hangs."""
        if is_busy:
            self._busy.set()
        else:
            self._busy.clear()

    async def is_well(self) -> bool:
        """Whether it answers and its engine has not failed."""
        health = await self._health()
        return health is not None and health.status == "ok"

    def died(self) -> RunnerDied:
        """What to tell those whose request it took with it; for use once it has exited."""
        if self.is_hung:
            return RunnerDied("model runner did not respond any more and was stopped")
        code = self.exited.result() if self.exited.done() else None
        return RunnerDied(self._log.explain(DIED_TEXT), exit_code=code)

    async def stop(self) -> None:
        """End it: ask, and after two seconds insist. Returns when it is reaped; safe to repeat."""
        self._is_stopping = True
        await self._spawned.wait()
        if self._child is not None and not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            await asyncio.wait([self.exited], timeout=_TERM_SECONDS)
            await self._kill()
        await asyncio.wait([self._supervising])

    async def _kill(self) -> None:
        # Again and again, because a second try may have been spawned since.
        while self._child is not None and not self.exited.done():
            self._is_stopping = True
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await asyncio.wait([self.exited], timeout=_LAST_POLL_SECONDS)

    # --- the child ---------------------------------------------------------------------------

    async def _supervise(self) -> None:
        code = -1
        try:
            while True:
                code = await self._run_child()
                if not self._is_worth_retrying(code):
                    break
                logger.info("the runner died of signal %d, trying plain kernels", -code)
                self.spec = msgspec.structs.replace(self.spec, use_extra_buffers=False)
                self._was_retried = True
                _unlink(self.spec.socket_path)
        finally:
            if self._watching is not None:
                self._watching.cancel()
            shutil.rmtree(Path(self.spec.socket_path).parent, ignore_errors=True)
            self._spawned.set()
            self.exited.set_result(code)

    def _is_worth_retrying(self, code: int) -> bool:
        return (
            code in _CPU_DEATHS
            and self.spec.use_extra_buffers
            and not (self._is_healthy or self._is_stopping)
        )

    async def _run_child(self) -> int:
        """Spawn one child and see it to its end."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=child_environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            self._spawn_error = str(error)
            return -1
        self._child = child
        if child.stdin is None or child.stderr is None:
            raise RunnerError("a child without pipes")
        reading = asyncio.create_task(self._log.follow(child.stderr), name="runner log")
        with contextlib.suppress(ConnectionError):
            child.stdin.write(msgspec.json.encode(self.spec) + b"\n")
            await child.stdin.drain()
        self._spawned.set()
        code = await child.wait()
        # What a dying process wrote last says why; but a process of its own may hold the pipe.
        await asyncio.wait([reading], timeout=_LOG_END_SECONDS)
        reading.cancel()
        child.stdin.close()
        return code

    # --- health ------------------------------------------------------------------------------

    async def _poll_until_ready(
        self, stall_timeout_ns: int, on_progress: Progress | None
    ) -> Health:
        load = LoadWatch(stall_timeout_ns)
        poll_seconds = _FIRST_POLL_SECONDS
        while not self.exited.done():
            health = await self._health()
            if health is not None and health.status == "ok":
                return health
            if health is not None and health.status == "error":
                raise RunnerStartFailed(health.error, log_tail=self.log_tail)
            if health is not None and health.total and on_progress:
                on_progress("loading", health.completed, health.total)
            reason = load.why_given_up(
                health, log_bytes=self._log.count, pid=self.pid, now_ns=time.monotonic_ns()
            )
            if reason:
                await self._kill()
                raise self._start_failure(reason)
            await asyncio.wait([self.exited], timeout=poll_seconds)
            poll_seconds = min(2 * poll_seconds, _LAST_POLL_SECONDS)
        raise self._start_failure()

    async def _health(self) -> Health | None:
        try:
            return await self.client.health(LOOK_SECONDS)
        except (RunnerError, TimeoutError):
            return None

    async def _watch(self) -> None:
        """Kill it when it hangs over its work; the broken connections tell those who wait.

        One that just sent a piece of an answer lives, and is not asked: on few cores the asking
        takes time from its next tokens.
        """
        loop = asyncio.get_running_loop()
        pulse: Pulse | None = None
        while True:
            if not self._busy.is_set():
                pulse = None
            await self._busy.wait()
            if time.monotonic() - self.client.heard_seconds < LOOK_SECONDS:
                pulse = None
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if pulse is None:
                pulse = Pulse(work_of(self.pid), has_answered=True)
            looked_at = loop.time()
            if pulse.is_dead(await self._health(), work_of(self.pid)):
                logger.error("runner %d hangs, killing it", self.pid)
                self.is_hung = True
                await self._kill()
                return
            await asyncio.sleep(max(0.0, looked_at + LOOK_SECONDS - loop.time()))

    def _start_failure(self, reason: str = "") -> RunnerStartFailed:
        code = self.exited.result() if self.exited.done() else None
        if self._spawn_error:
            reason = f"cannot start a model runner: {self._spawn_error}"
        elif not reason:
            reason = f"the model runner ended before it was ready ({_exit_text(code)})"
        return RunnerStartFailed(self._log.explain(reason), exit_code=code, log_tail=self.log_tail)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` a runner may see, and where it finds this package."""
    allowed = {
        name: value
        for name, value in environ.items()
        if name in _ALLOWED_NAMES or name.startswith(_ALLOWED_PREFIXES)
    }
    here = str(Path(__file__).parents[2])
    inherited = allowed.get("PYTHONPATH")
    allowed["PYTHONPATH"] = f"{here}{os.pathsep}{inherited}" if inherited else here
    return allowed


def new_socket_path(runtime_dir: Path) -> Path:
    """A socket path in a new folder (0700), short enough for the system."""
    runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="r-", dir=runtime_dir)
    if len(os.fsencode(folder)) > _SOCKET_PATH_LIMIT:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="ollama-r-")
    return Path(folder) / "s"


def _unlink(path: str) -> None:
    """Remove what a dead child left, so that the next one can listen there."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _exit_text(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
