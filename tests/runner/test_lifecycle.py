"""What a runner says about itself before and without a model."""

import os
from pathlib import Path

import pytest

from tests.runner.bench import wait_until

pytestmark = pytest.mark.engine

from ollama_jupyter.errors import Busy, RunnerError  # noqa: E402 - after the skip in bench
from ollama_jupyter.runner.app import Mailbox, deliver  # noqa: E402
from ollama_jupyter.runner.lifecycle import Runner, resident_bytes  # noqa: E402
from ollama_jupyter.runner.wire import CompletionChunk, RunnerSpec  # noqa: E402


def _runner(path: Path) -> Runner:
    spec = RunnerSpec(
        model_path=str(path), socket_path="", slots=2, num_ctx=64, num_batch=64, num_threads=1
    )
    return Runner(spec, deliver)


def test_runner_is_loading_until_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * 500)
    runner = _runner(path)

    health = runner.health()

    assert (health.status, health.completed, health.total, health.slots) == ("loading", 0, 500, 2)
    with pytest.raises(Busy, match="loading model"):
        runner.model()


async def test_runner_of_a_bad_file_reports_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * 500)
    runner = _runner(path)
    runner.start()

    wait_until(lambda: runner.health().status == "error")

    assert "unable to load model" in runner.health().error
    with pytest.raises(RunnerError, match="unable to load model"):
        runner.model()
    await runner.close()


def test_resident_bytes_counts_resident_pages(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("90000 512 300 1 0 4000 0\n")

    assert resident_bytes(statm) == 512 * os.sysconf("SC_PAGE_SIZE")
    assert resident_bytes(tmp_path / "absent") == 0


async def test_mailbox_gives_all_that_came_in_order() -> None:
    mailbox = Mailbox()
    first, last = CompletionChunk(text="a"), CompletionChunk(text="b", done=True)
    deliver([(mailbox, first), (mailbox, last)])

    assert await mailbox.take() == [first, last]


async def test_mailbox_gives_pieces_before_the_error_that_ended_them() -> None:
    mailbox = Mailbox()
    deliver([(mailbox, CompletionChunk(text="a")), (mailbox, RunnerError("gone"))])

    assert await mailbox.take() == [CompletionChunk(text="a")]
    with pytest.raises(RunnerError, match="gone"):
        await mailbox.take()


async def test_closed_mailbox_gives_nothing() -> None:
    mailbox = Mailbox()
    mailbox.put(CompletionChunk(text="a"))
    mailbox.close()

    assert await mailbox.take() == []
