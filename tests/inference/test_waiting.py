"""Waiting for a runner."""

import asyncio
from typing import cast

import pytest

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.errors import Busy
from ollama_jupyter.inference.waiting import Progress, Waiting, wait_for_runner
from ollama_jupyter.scheduler.scheduler import Scheduler
from tests.fakes.rooms import FakeScheduler, fake_model, until


def _waiting(scheduler: FakeScheduler, *, wants_progress: bool = True) -> Waiting:
    return wait_for_runner(
        cast(Scheduler, scheduler),
        fake_model(),
        options=RunnerOptions(num_ctx=7),
        keep_alive_ns=5,
        shift=False,
        wants_progress=wants_progress,
    )


async def _reports(waiting: Waiting) -> list[Progress]:
    return [report async for report in waiting.progress()]


async def test_the_lease_is_there_after_all_progress_and_is_given_back() -> None:
    scheduler = FakeScheduler(reports=(("loading", 1, 2), ("loading", 2, 2)))
    async with _waiting(scheduler) as waiting:
        reports = await _reports(waiting)
        assert waiting.lease.num_ctx == 4096
        assert scheduler.active == 1
    assert scheduler.active == 0
    assert reports[-1] == Progress(status="loading", completed=2, total=2)
    assert scheduler.wanted == [(RunnerOptions(num_ctx=7), 5, False)]


async def test_nothing_is_reported_when_nobody_wants_it() -> None:
    scheduler = FakeScheduler(reports=(("loading", 1, 2),))
    async with _waiting(scheduler, wants_progress=False) as waiting:
        assert await _reports(waiting) == []
        assert scheduler.active == 1


async def test_the_lease_is_not_there_before() -> None:
    async with _waiting(FakeScheduler()) as waiting:
        with pytest.raises(RuntimeError):
            _ = waiting.lease


async def test_a_refusal_is_raised() -> None:
    async with _waiting(FakeScheduler(refuses_with=Busy("full"))) as waiting:
        with pytest.raises(Busy):
            await _reports(waiting)


async def test_a_cancel_gives_up_the_place() -> None:
    scheduler = FakeScheduler(gate=asyncio.Event())

    async def wait() -> None:
        async with _waiting(scheduler) as waiting:
            await _reports(waiting)

    task = asyncio.create_task(wait())
    await until(lambda: scheduler.waiting, "it waits")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (scheduler.waiting, scheduler.active) == (0, 0)


async def test_a_lease_that_comes_with_the_cancel_is_given_back() -> None:
    scheduler = FakeScheduler(gate=asyncio.Event())

    async def wait() -> None:
        async with _waiting(scheduler) as waiting:
            await _reports(waiting)

    task = asyncio.create_task(wait())
    await until(lambda: scheduler.waiting, "it waits")
    assert scheduler.gate is not None
    scheduler.gate.set()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (scheduler.waiting, scheduler.active) == (0, 0)
