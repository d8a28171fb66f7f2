"""Blocking work under requests that may be cancelled."""

import asyncio
import threading

import pytest

from ollama_jupyter.server.threads import run_to_end


async def test_run_to_end_gives_the_result_and_the_error() -> None:
    assert await run_to_end(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await run_to_end(lambda: 1 // 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancel_waits_until_the_work_is_through(fails: bool) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(5)
        ended.set()
        if fails:
            raise ValueError("too late to matter")

    task = asyncio.create_task(run_to_end(work))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
