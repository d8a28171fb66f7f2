"""How tests start the fake runner, write its script, and wait for what it does."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

from ollama_jupyter.runner.plain_builds import PlainBuilds
from ollama_jupyter.runner.process import RunnerProcess, new_socket_path
from ollama_jupyter.runner.wire import RunnerSpec

FAKE_COMMAND: Final = (sys.executable, str(Path(__file__).with_name("fake_runner.py")))


def write_script(path: Path, **script: Any) -> Path:  # noqa: ANN401 - the fake checks it
    """Write what the fake at these weights does."""
    path.write_text(json.dumps(script))
    return path


def spec_for(weights: Path, folder: Path, *, slots: int = 2) -> RunnerSpec:
    """A spec for the fake, with its socket below `folder`."""
    return RunnerSpec(
        model_path=str(weights),
        socket_path=str(new_socket_path(folder)),
        slots=slots,
        num_ctx=4096,
        num_batch=512,
        num_threads=1,
    )


async def start_fake(weights: Path, folder: Path, *, slots: int = 2) -> RunnerProcess:
    """A fake runner's process; the caller stops it."""
    return await RunnerProcess.start(
        spec_for(weights, folder, slots=slots),
        plain_builds=PlainBuilds(folder, "test build"),
        command=FAKE_COMMAND,
    )


def lines(weights: Path, kind: str) -> list[str]:
    """What the fake at these weights noted of that kind."""
    path = Path(f"{weights}.{kind}")
    return path.read_text().split() if path.exists() else []


def starts(weights: Path) -> list[int]:
    """Process ids of the fakes started with these weights, in order."""
    return [int(line) for line in lines(weights, "starts")]


def is_alive(pid: int) -> bool:
    """Whether a process exists that is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)
