"""The scheduler when runners die or hang and clients leave, with real processes and signals."""

import asyncio
import os
import signal

import pytest

from ollama_jupyter.errors import Busy, RunnerDied, RunnerError
from ollama_jupyter.runner.wire import CompletionRequest
from ollama_jupyter.scheduler.launch import Launcher
from tests.fakes.runners import is_alive, lines, starts, until, write_script
from tests.scheduler.conftest import MakeModel, MakeScheduler
from tests.scheduler.test_scheduler import OPTIONS, answer, names


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_one_error_and_a_fresh_runner_when_the_runner_dies_in_an_answer(
    make_scheduler: MakeScheduler, make_model: MakeModel, number: signal.Signals
) -> None:
    scheduler = make_scheduler()
    model, other = make_model("a", stall={"late_answer": True}), make_model("b")
    task = asyncio.create_task(answer(scheduler, model))
    await until(lambda: "begin" in lines(model.weights_path, "calls"))
    await answer(scheduler, other)
    write_script(model.weights_path)
    os.kill(starts(model.weights_path)[0], number)
    async with asyncio.timeout(2):
        with pytest.raises(RunnerDied, match="unexpectedly stopped") as caught:
            await task
    assert caught.value.exit_code == -number
    assert names(scheduler) == ["b"]
    assert await answer(scheduler, model) == "Hello world"
    assert len(starts(model.weights_path)) == 2
    assert len(starts(other.weights_path)) == 1


async def test_all_who_share_a_runner_get_an_error_and_the_waiting_are_served_when_it_dies(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler = make_scheduler(OLLAMA_NUM_PARALLEL="2")
    model = make_model(stall={"late_answer": True})
    tasks = [asyncio.create_task(answer(scheduler, model)) for _ in range(4)]
    await until(lambda: lines(model.weights_path, "calls") == ["begin", "begin"])
    write_script(model.weights_path)
    os.kill(starts(model.weights_path)[0], signal.SIGKILL)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [RunnerDied, RunnerDied, str, str]


async def test_the_next_request_gets_a_fresh_runner_when_an_idle_one_was_killed(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    await answer(scheduler, model)
    os.kill(starts(model.weights_path)[0], signal.SIGKILL)
    await until(lambda: names(scheduler) == [])
    assert await answer(scheduler, model) == "Hello world"


async def test_the_answer_fails_within_five_seconds_when_the_runner_hangs(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model(stall={"late_answer": True})
    task = asyncio.create_task(answer(scheduler, model))
    await until(lambda: "begin" in lines(model.weights_path, "calls"))
    write_script(model.weights_path)
    os.kill(starts(model.weights_path)[0], signal.SIGSTOP)
    async with asyncio.timeout(5.5):
        with pytest.raises(RunnerDied, match="did not respond"):
            await task
    assert not is_alive(starts(model.weights_path)[0])
    assert await answer(scheduler, model) == "Hello world"


async def test_a_runner_is_replaced_when_it_hangs_up_but_lives(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model(hang_up=True)
    with pytest.raises(RunnerDied, match="unexpectedly stopped"):
        await answer(scheduler, model)
    assert not is_alive(starts(model.weights_path)[0])
    write_script(model.weights_path)
    assert await answer(scheduler, model) == "Hello world"


async def test_the_waiter_gets_an_error_when_our_own_code_fails(
    make_scheduler: MakeScheduler, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    scheduler, model = make_scheduler(), make_model()
    with monkeypatch.context() as patched:
        patched.setattr(Launcher, "spec", fail)
        with pytest.raises(RunnerError, match="a bug"):
            await answer(scheduler, model)
    assert await answer(scheduler, model) == "Hello world"


async def test_a_runner_is_replaced_when_it_says_its_engine_failed(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model(late_fault="the engine failed")
    with pytest.raises(RunnerError, match="the engine failed"):
        await answer(scheduler, model)
    assert len(names(scheduler)) == 1  # it says it is well, so it stays
    await scheduler.unload_all()
    write_script(model.weights_path, late_fault="the engine failed", error_after_answer=True)
    with pytest.raises(RunnerError, match="the engine failed"):
        await answer(scheduler, model)
    assert names(scheduler) == []


async def test_the_load_is_aborted_when_every_client_left(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model(stall={"load": True})
    tasks = [asyncio.create_task(answer(scheduler, model)) for _ in range(3)]
    await until(lambda: bool(starts(model.weights_path)))
    pid = starts(model.weights_path)[0]
    for task in tasks:
        assert is_alive(pid)
        task.cancel()
    await asyncio.wait(tasks)
    await until(lambda: not is_alive(pid), seconds=3)


async def test_nothing_is_left_when_clients_leave_at_every_moment_of_a_start(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    for steps in range(40):
        task = asyncio.create_task(answer(scheduler, model))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert await answer(scheduler, model) == "Hello world"
    assert [runner.running for runner in scheduler.loaded()] == [0]


async def test_a_waiter_never_starts_when_it_was_cancelled(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(OLLAMA_NUM_PARALLEL="1"), make_model()
    async with scheduler.lease(model, options=OPTIONS):
        waiting = [asyncio.create_task(answer(scheduler, model)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.wait([waiting[1]])
    await asyncio.wait(waiting)
    assert lines(model.weights_path, "calls") == ["begin", "begin"]


async def test_the_slot_is_free_when_a_client_leaves_in_an_answer(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(OLLAMA_NUM_PARALLEL="1"), make_model()
    write_script(model.weights_path, stall={"late_answer": True})
    task = asyncio.create_task(answer(scheduler, model))
    await until(lambda: "begin" in lines(model.weights_path, "calls"))
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: "cancel" in lines(model.weights_path, "calls"))
    assert [runner.running for runner in scheduler.loaded()] == [0]


async def test_close_ends_answers_loads_and_waiters_when_all_are_there(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler = make_scheduler(OLLAMA_NUM_PARALLEL="1")
    running, loading = make_model("a", stall={"late_answer": True}), make_model("b")
    write_script(loading.weights_path, stall={"load": True}, ignore_term=True)
    tasks = [asyncio.create_task(answer(scheduler, model)) for model in (running, running, loading)]
    await until(lambda: "begin" in lines(running.weights_path, "calls"))
    await until(lambda: bool(starts(loading.weights_path)))
    async with asyncio.timeout(5):
        await scheduler.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [RunnerDied, Busy, Busy]
    for model in (running, loading):
        assert not is_alive(starts(model.weights_path)[0])
    with pytest.raises(Busy, match="shutting down"):
        await answer(scheduler, running)


async def test_a_partial_answer_stays_when_the_runner_dies_later(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model(stall={"late_answer": True})
    seen: list[str] = []

    async def collect() -> None:
        async with scheduler.lease(model, options=OPTIONS) as lease:
            async for chunk in lease.runner.completion(CompletionRequest(prompt="hi")):
                seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    task = asyncio.create_task(collect())
    await until(lambda: bool(seen))
    os.kill(starts(model.weights_path)[0], signal.SIGKILL)
    with pytest.raises(RunnerDied):
        await task
    assert seen == ["Hello"]
