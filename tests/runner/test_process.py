"""Spawning, watching and ending a runner, with real processes and real signals."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ollama_jupyter.errors import RunnerDied, RunnerStartFailed
from ollama_jupyter.quantities import FOREVER_NS
from ollama_jupyter.runner import liveness
from ollama_jupyter.runner import process as process_module
from ollama_jupyter.runner.plain_builds import PlainBuilds
from ollama_jupyter.runner.process import RunnerProcess, child_environment, new_socket_path
from ollama_jupyter.runner.wire import CompletionRequest
from tests.fakes.runners import (
    FAKE_COMMAND,
    is_alive,
    lines,
    spec_for,
    start_fake,
    starts,
    until,
    write_script,
)

LIMIT_NS = 10_000_000_000
REQUEST = CompletionRequest(prompt="hi")

Start = Callable[..., Awaitable[RunnerProcess]]


@pytest.fixture
async def start(short_dir: Path) -> AsyncIterator[Start]:
    """Starts a fake with a script; all are stopped at the end and leave nothing."""
    started: list[RunnerProcess] = []

    async def start_one(**script: Any) -> RunnerProcess:  # noqa: ANN401 - the fake checks it
        weights = write_script(short_dir / "weights", **script)
        started.append(await start_fake(weights, short_dir))
        return started[-1]

    yield start_one
    for process in started:
        await process.stop()
        assert process.exited.done()
        assert not is_alive(process.pid)
    assert not socket_folders(short_dir)


def socket_folders(folder: Path, pattern: str = "r-*") -> list[Path]:
    return list(folder.glob(pattern))


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at a runner five times as often, so that a hang shows sooner."""
    monkeypatch.setattr(process_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(liveness, "LOOK_SECONDS", 0.2)


async def answer(process: RunnerProcess) -> str:
    return "".join([chunk.text async for chunk in process.client.completion(REQUEST)])


# --- starting -------------------------------------------------------------------------------


async def test_ready_gives_health_when_the_child_serves(start: Start) -> None:
    process = await start()
    health = await process.ready(LIMIT_NS)
    assert (health.status, health.slots) == ("ok", 2)
    assert await answer(process) == "Hello world"


async def test_start_makes_a_private_folder_and_a_session_of_its_own(start: Start) -> None:
    process = await start()
    await process.ready(LIMIT_NS)
    folder = Path(process.spec.socket_path).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.getsid(process.pid) == process.pid


async def test_ready_reports_progress_when_loading_takes_time(
    start: Start, short_dir: Path
) -> None:
    gate = short_dir / "gate"
    process = await start(load_gate=str(gate))
    seen: list[tuple[str, int, int]] = []
    task = asyncio.create_task(process.ready(LIMIT_NS, lambda *record: seen.append(record)))
    await until(lambda: bool(seen))
    assert not task.done()
    gate.touch()
    await task
    assert seen[0] == ("loading", 50, 100)


async def test_ready_raises_with_the_last_error_when_the_child_ends(start: Start) -> None:
    process = await start(crash="load", exit_code=3, log="one\nerror: no such tensor\nbye")
    with pytest.raises(
        RunnerStartFailed, match=r"exit status 3.*: error: no such tensor"
    ) as caught:
        await process.ready(LIMIT_NS)
    assert caught.value.exit_code == 3
    assert caught.value.log_tail == "one\nerror: no such tensor\nbye\n"


async def test_ready_raises_what_health_says_when_loading_failed(start: Start) -> None:
    process = await start(error="failed to load model: bad magic")
    with pytest.raises(RunnerStartFailed, match=r"^failed to load model: bad magic$"):
        await process.ready(LIMIT_NS)
    assert process.exited.done()


async def test_ready_raises_when_the_load_stalls(start: Start) -> None:
    process = await start(stall={"load": True})
    with pytest.raises(RunnerStartFailed, match="timed out waiting for the model runner"):
        await process.ready(300_000_000)
    assert process.exited.result() == -signal.SIGKILL


async def test_ready_waits_when_the_stall_timeout_is_for_ever(
    start: Start, short_dir: Path
) -> None:
    gate = short_dir / "gate"
    process = await start(load_gate=str(gate))
    task = asyncio.create_task(process.ready(FOREVER_NS))
    await until(lambda: Path(process.spec.socket_path).exists())
    gate.touch()
    assert (await task).status == "ok"


async def test_ready_raises_within_five_seconds_when_the_child_is_stopped_in_load(
    start: Start, short_dir: Path
) -> None:
    process = await start(stall={"load": True})
    await until(lambda: Path(process.spec.socket_path).exists())
    task = asyncio.create_task(process.ready(FOREVER_NS))
    os.kill(process.pid, signal.SIGSTOP)
    async with asyncio.timeout(6):
        with pytest.raises(RunnerStartFailed, match="hung while it loaded"):
            await task


async def test_ready_stops_the_child_when_it_is_cancelled(start: Start) -> None:
    process = await start(stall={"load": True})
    task = asyncio.create_task(process.ready(LIMIT_NS))
    await until(lambda: Path(process.spec.socket_path).exists())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process.exited.done()


async def test_start_raises_when_there_is_no_such_program(short_dir: Path) -> None:
    spec = spec_for(short_dir / "weights", short_dir)
    with pytest.raises(RunnerStartFailed, match="cannot start a model runner"):
        await RunnerProcess.start(
            spec, plain_builds=PlainBuilds(short_dir, "b"), command=(str(short_dir / "none"),)
        )
    assert not socket_folders(short_dir)


async def test_start_stops_the_child_when_it_is_cancelled(short_dir: Path) -> None:
    weights = write_script(short_dir / "weights")
    others = {child.pid for child in psutil.Process().children()}
    task = asyncio.create_task(start_fake(weights, short_dir))
    pids: set[int] = set()

    def has_started() -> bool:
        pids.update(child.pid for child in psutil.Process().children() if child.pid not in others)
        return bool(pids)

    await until(has_started)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        await task.result().stop()
    assert not any(is_alive(pid) for pid in pids)
    assert not socket_folders(short_dir)


# --- CPU features ---------------------------------------------------------------------------


async def test_ready_tries_plain_kernels_once_when_the_child_dies_of_sigill(
    start: Start, short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        process = await start(sigill=True)
        await process.ready(LIMIT_NS)
    assert not process.spec.use_extra_buffers
    assert len(starts(short_dir / "weights")) == 2
    assert await answer(process) == "Hello world"
    assert len([record for record in caplog.records if "llama.cpp" in record.message]) == 1


async def test_start_uses_plain_kernels_at_once_when_the_build_is_known(
    start: Start, short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await (await start(sigill=True)).ready(LIMIT_NS)
    caplog.clear()
    process = await start(sigill=True)
    await process.ready(LIMIT_NS)
    assert len(starts(short_dir / "weights")) == 3
    assert not caplog.records


async def test_ready_does_not_remember_when_plain_kernels_die_too(
    start: Start, short_dir: Path
) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    builds = PlainBuilds(short_dir, "b")
    process = await RunnerProcess.start(
        spec_for(short_dir / "weights", short_dir),
        plain_builds=builds,
        command=(FAKE_COMMAND[0], "-c", crash),
    )
    with pytest.raises(RunnerStartFailed, match="SIGSEGV") as caught:
        await process.ready(LIMIT_NS)
    assert caught.value.exit_code == -signal.SIGSEGV
    assert not builds.has_current()


async def test_ready_names_the_number_when_the_signal_has_no_name(short_dir: Path) -> None:
    process = await RunnerProcess.start(
        spec_for(short_dir / "weights", short_dir),
        plain_builds=PlainBuilds(short_dir, "b"),
        command=(FAKE_COMMAND[0], "-c", "import os; os.kill(os.getpid(), 40)"),
    )
    with pytest.raises(RunnerStartFailed, match="signal 40"):
        await process.ready(LIMIT_NS)


async def test_ready_does_not_retry_when_the_child_is_killed(start: Start, short_dir: Path) -> None:
    process = await start(stall={"load": True})
    await until(lambda: bool(starts(short_dir / "weights")))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(RunnerStartFailed, match="SIGKILL"):
        await process.ready(LIMIT_NS)
    assert len(starts(short_dir / "weights")) == 1


# --- its end --------------------------------------------------------------------------------


async def test_stop_ends_the_child_when_it_serves(start: Start) -> None:
    process = await start()
    await process.ready(LIMIT_NS)
    await process.stop()
    assert process.exited.result() == -signal.SIGTERM
    assert not Path(process.spec.socket_path).parent.exists()
    await process.stop()


async def test_stop_kills_the_child_when_it_ignores_sigterm(start: Start) -> None:
    process = await start(ignore_term=True)
    await process.ready(LIMIT_NS)
    async with asyncio.timeout(4):
        await process.stop()
    assert process.exited.result() == -signal.SIGKILL


async def test_stop_kills_the_child_when_it_is_stopped_by_a_signal(start: Start) -> None:
    process = await start()
    await process.ready(LIMIT_NS)
    os.kill(process.pid, signal.SIGSTOP)
    async with asyncio.timeout(4):
        await process.stop()
    assert process.exited.result() in (-signal.SIGTERM, -signal.SIGKILL)


async def test_died_gives_the_exit_code_and_the_last_error_when_killed(start: Start) -> None:
    process = await start(log="GGML_ASSERT(n > 0) failed")
    await process.ready(LIMIT_NS)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.exited == -signal.SIGKILL
    error = process.died()
    assert isinstance(error, RunnerDied)
    assert error.exit_code == -signal.SIGKILL
    assert "unexpectedly stopped" in str(error)
    assert str(error).endswith(": GGML_ASSERT(n > 0) failed")


async def test_a_busy_child_is_killed_within_five_seconds_when_it_is_stopped(
    start: Start, short_dir: Path
) -> None:
    process = await start(stall={"answer": True})
    await process.ready(LIMIT_NS)
    process.set_busy(True)
    task = asyncio.create_task(answer(process))
    await until(lambda: "begin" in lines(short_dir / "weights", "calls"))
    os.kill(process.pid, signal.SIGSTOP)
    async with asyncio.timeout(6):
        with pytest.raises(RunnerDied):
            await task
    assert process.is_hung
    assert "did not respond" in str(process.died())


@pytest.mark.usefixtures("_often")
async def test_a_busy_child_is_killed_when_its_engine_stands_still(
    start: Start, short_dir: Path
) -> None:
    process = await start(stall={"answer": True})
    await process.ready(LIMIT_NS)
    process.set_busy(True)
    async with asyncio.timeout(4):
        with pytest.raises(RunnerDied):
            await answer(process)
    assert process.is_hung


@pytest.mark.usefixtures("_often")
async def test_a_busy_child_is_left_alone_when_it_works_slowly(
    start: Start, short_dir: Path
) -> None:
    process = await start(stall={"answer": True}, busy_loop=True)
    await process.ready(LIMIT_NS)
    process.set_busy(True)
    task = asyncio.create_task(answer(process))
    done, _ = await asyncio.wait([task], timeout=1.5)
    assert not done
    assert not process.exited.done()
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.usefixtures("_often")
async def test_an_idle_child_is_not_looked_at_when_it_is_stopped(start: Start) -> None:
    process = await start()
    await process.ready(LIMIT_NS)
    process.set_busy(True)
    process.set_busy(False)
    os.kill(process.pid, signal.SIGSTOP)
    done, _ = await asyncio.wait([process.exited], timeout=1.2)
    assert not done


async def test_the_child_ends_when_its_life_pipe_does(short_dir: Path) -> None:
    weights = write_script(short_dir / "weights")
    server = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.fakes.runners import start_fake\n"
        "async def main():\n"
        "    process = await start_fake(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "    await process.ready(10**10); await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        FAKE_COMMAND[0],
        "-c",
        server,
        str(weights),
        str(short_dir),
        cwd=Path(__file__).parents[2],
    )
    await until(lambda: bool(socket_folders(short_dir, "r-*/s")))
    runner = starts(weights)[0]
    child.kill()
    await child.wait()
    await until(lambda: not is_alive(runner), seconds=2)


# --- what it is given -----------------------------------------------------------------------


def test_child_environment_leaves_keys_out_when_the_server_has_them() -> None:
    given = child_environment(
        {
            "PATH": "/bin",
            "OLLAMA_API_KEY": "secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "JUPYTERHUB_API_TOKEN": "secret",
            "CUDA_VISIBLE_DEVICES": "0",
            "LC_ALL": "C",
            "GGML_X": "1",
            "LD_PRELOAD": "/x.so",
            "PYTHONPATH": "/mine",
        }
    )
    assert "secret" not in given.values()
    assert set(given) == {
        "PATH", "CUDA_VISIBLE_DEVICES", "LC_ALL", "GGML_X", "LD_PRELOAD", "PYTHONPATH"
    }  # fmt: skip
    assert given["PYTHONPATH"].endswith(f"{os.pathsep}/mine")


def test_new_socket_path_is_short_when_the_folder_is_deep(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    path = new_socket_path(deep)
    assert len(os.fsencode(path)) < 104
    assert path.parent.is_dir()
    path.parent.rmdir()


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b"[1]", b"\xff", b"[" * 5000])
def test_plain_builds_counts_as_empty_when_its_file_is_bad(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "plain-builds.json").write_bytes(content)
    builds = PlainBuilds(tmp_path, "b")
    assert not builds.has_current()
    builds.add_current()
    assert builds.has_current()
    assert json.loads((tmp_path / "plain-builds.json").read_text()) == ["b"]


def test_plain_builds_keeps_the_newest_when_there_are_many(tmp_path: Path) -> None:
    for number in range(20):
        PlainBuilds(tmp_path, str(number)).add_current()
    assert PlainBuilds(tmp_path, "19").has_current()
    assert not PlainBuilds(tmp_path, "0").has_current()


def test_plain_builds_names_the_installed_build_when_none_is_given(tmp_path: Path) -> None:
    builds = PlainBuilds(tmp_path)
    builds.add_current()
    assert PlainBuilds(tmp_path).has_current()
    assert not PlainBuilds(tmp_path, "another").has_current()
