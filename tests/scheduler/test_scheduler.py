"""The scheduler with real processes: stampedes, queues, keep-alive, reloads, eviction."""

import asyncio
import time
from pathlib import Path

import pytest

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import BadRequest, Busy, InsufficientMemory, NotFound, RunnerStartFailed
from ollama_jupyter.quantities import FOREVER_NS, SECOND_NS
from ollama_jupyter.runner.wire import CompletionRequest
from ollama_jupyter.scheduler.scheduler import Lease, Scheduler
from tests.fakes.models import metadata_for, model_for
from tests.fakes.runners import lines, starts, until
from tests.scheduler.conftest import MakeModel, MakeScheduler

OPTIONS = RunnerOptions()


async def answer(
    scheduler: Scheduler,
    model: Model,
    options: RunnerOptions = OPTIONS,
    keep_alive_ns: int | None = None,
) -> str:
    async with scheduler.lease(model, options=options, keep_alive_ns=keep_alive_ns) as lease:
        return await text_of(lease)


async def text_of(lease: Lease) -> str:
    request = CompletionRequest(prompt="hi")
    return "".join([chunk.text async for chunk in lease.runner.completion(request)])


def names(scheduler: Scheduler) -> list[str]:
    return sorted(runner.model.weights_path.name for runner in scheduler.loaded())


# --- loading and queueing -------------------------------------------------------------------


async def test_one_runner_is_spawned_when_twenty_cold_requests_come_at_once(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    answers = await asyncio.gather(*(answer(scheduler, model) for _ in range(20)))
    assert answers == ["Hello world"] * 20
    assert len(starts(model.weights_path)) == 1
    assert "over" not in lines(model.weights_path, "calls")


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_nine_of_forty_are_served_when_one_runs_and_eight_may_wait(
    make_scheduler: MakeScheduler, make_model: MakeModel, short_dir: Path, is_loaded: bool
) -> None:
    scheduler = make_scheduler(OLLAMA_MAX_QUEUE="8", OLLAMA_NUM_PARALLEL="1")
    gate = short_dir / "gate"
    model = make_model(word_gate=str(gate))
    if is_loaded:
        async with scheduler.lease(model, options=OPTIONS):
            pass
    tasks = [asyncio.create_task(answer(scheduler, model)) for _ in range(40)]
    started = time.monotonic()
    await until(lambda: sum(task.done() for task in tasks) == 31)
    assert time.monotonic() - started < 0.5
    gate.touch()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:9] == ["Hello world"] * 9
    assert all(
        str(result) == "server busy, please try again.  maximum pending requests exceeded"
        for result in results[9:]
    )
    assert all(isinstance(result, Busy) for result in results[9:])


async def test_lease_says_what_it_cost_when_it_had_to_load_and_wait(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(OLLAMA_NUM_PARALLEL="1"), make_model()
    async with scheduler.lease(model, options=RunnerOptions(num_ctx=1000)) as cold:
        assert cold.load_ns > 1_000_000
        assert cold.num_ctx == 1000
        waiting = asyncio.create_task(answer(scheduler, model))
        await asyncio.sleep(0)
    await waiting
    async with scheduler.lease(model, options=OPTIONS) as warm:
        assert warm.load_ns == 0
        assert warm.queue_ns < 50_000_000
        assert warm.num_ctx == 1000


async def test_lease_gives_the_asked_num_ctx_when_the_runner_has_more(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    async with scheduler.lease(model, options=OPTIONS) as lease:
        assert lease.num_ctx == 4096
    async with scheduler.lease(model, options=RunnerOptions(num_ctx=512)) as lease:
        assert lease.num_ctx == 512
    assert len(starts(model.weights_path)) == 1


async def test_progress_is_told_to_everybody_who_waits_for_a_load(
    make_scheduler: MakeScheduler, make_model: MakeModel, short_dir: Path
) -> None:
    scheduler = make_scheduler(OLLAMA_NUM_PARALLEL="1")
    gate = short_dir / "gate"
    model = make_model(load_gate=str(gate))
    told: list[list[tuple[str, int, int]]] = [[], []]

    async def ask(number: int) -> None:
        async with scheduler.lease(
            model, options=OPTIONS, on_progress=lambda *record: told[number].append(record)
        ):
            pass

    tasks = [asyncio.create_task(ask(number)) for number in range(2)]
    await until(lambda: all(("loading", 50, 100) in seen for seen in told))
    gate.touch()
    await asyncio.gather(*tasks)
    assert told[0][0] == ("loading", 0, 0)


async def test_progress_says_queued_when_every_slot_is_taken(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(OLLAMA_NUM_PARALLEL="1"), make_model()
    told: list[tuple[str, int, int]] = []

    async def ask() -> None:
        async with scheduler.lease(
            model, options=OPTIONS, on_progress=lambda *record: told.append(record)
        ):
            pass

    async with scheduler.lease(model, options=OPTIONS):
        task = asyncio.create_task(ask())
        await until(lambda: bool(told))
    await task
    assert told == [("queued", 0, 0)]


async def test_a_model_reloads_when_a_larger_context_is_asked(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    await answer(scheduler, model)
    await answer(scheduler, model, RunnerOptions(num_ctx=8000))
    await answer(scheduler, model, RunnerOptions(num_ctx=100))
    assert len(starts(model.weights_path)) == 2
    assert [runner.num_ctx for runner in scheduler.loaded()] == [8000]


# --- failing to load ------------------------------------------------------------------------


async def test_every_waiter_gets_the_reason_when_the_runner_does_not_start(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler = make_scheduler()
    good, bad = make_model("good"), make_model("bad", crash="load", log="error: bad tensor")
    await answer(scheduler, good)
    results = await asyncio.gather(
        *(answer(scheduler, bad) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(result, RunnerStartFailed) for result in results)
    assert all("error: bad tensor" in str(result) for result in results)
    assert len(starts(bad.weights_path)) == 1
    assert names(scheduler) == ["good"]


async def test_the_error_has_the_advice_when_the_file_does_not_load(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    model = make_model("odd", error="failed to load model: unknown architecture")
    with pytest.raises(RunnerStartFailed, match=r"incompatible with your version.*ollama pull odd"):
        await answer(make_scheduler(), model)


async def test_the_load_fails_when_it_stalls(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler = make_scheduler(OLLAMA_LOAD_TIMEOUT="300ms")
    with pytest.raises(RunnerStartFailed, match="timed out"):
        await answer(scheduler, make_model(stall={"load": True}))
    assert names(scheduler) == []


async def test_the_request_is_refused_at_once_when_the_model_is_too_big(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler = make_scheduler(OLLAMA_JUPYTER_MEMORY_LIMIT="1GiB")
    small = make_model("small")
    await answer(scheduler, small)
    path = make_model("big").weights_path
    big = model_for(path, metadata=metadata_for(weights_bytes=2 << 30))
    with pytest.raises(InsufficientMemory, match="more system memory"):
        await answer(scheduler, big)
    assert starts(path) == []
    assert names(scheduler) == ["small"]


async def test_the_request_is_refused_when_the_weights_are_gone(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    model = make_model()
    model.weights_path.unlink()
    with pytest.raises(NotFound, match='model "weights:latest" not found'):
        await answer(make_scheduler(), model)


async def test_a_model_stays_loaded_when_a_request_is_bad(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model(fault=[400, "too long"])
    for _ in range(2):
        with pytest.raises(BadRequest, match="too long"):
            await answer(scheduler, model)
    assert len(starts(model.weights_path)) == 1


# --- keep-alive and unloading ---------------------------------------------------------------


async def test_a_model_is_unloaded_when_its_keep_alive_is_over(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    await answer(scheduler, model, keep_alive_ns=SECOND_NS // 2)
    ended = time.monotonic()
    assert names(scheduler) == ["weights"]
    await until(lambda: names(scheduler) == [])
    assert 0.4 < time.monotonic() - ended < 1.5


@pytest.mark.parametrize(
    ("keep_alive_ns", "left_ns"),
    [(None, 300 * SECOND_NS), (10 * SECOND_NS, 10 * SECOND_NS), (-1, FOREVER_NS)],
)
async def test_loaded_tells_when_a_model_goes_by_the_wall_clock(
    make_scheduler: MakeScheduler,
    make_model: MakeModel,
    keep_alive_ns: int | None,
    left_ns: int,
) -> None:
    scheduler, model = make_scheduler(), make_model(memory_bytes=5 << 20)
    await answer(scheduler, model, keep_alive_ns=keep_alive_ns)
    (runner,) = scheduler.loaded()
    assert abs(runner.expires_at_ns - time.time_ns() - left_ns) < SECOND_NS
    assert (runner.size_bytes, runner.vram_bytes) == (5 << 20, 0)
    assert (runner.running, runner.slots, runner.num_ctx) == (0, 8, 4096)


async def test_a_model_is_gone_when_unload_returns_and_nobody_used_it(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model, other = make_scheduler(), make_model("a"), make_model("b")
    await answer(scheduler, model)
    await answer(scheduler, other)
    await scheduler.unload(model)
    assert names(scheduler) == ["b"]
    await scheduler.unload_all()
    assert names(scheduler) == []
    assert await answer(scheduler, model) == "Hello world"


async def test_an_answer_finishes_when_its_model_is_unloaded_meanwhile(
    make_scheduler: MakeScheduler, make_model: MakeModel, short_dir: Path
) -> None:
    gate = short_dir / "gate"
    scheduler, model = make_scheduler(), make_model(word_gate=str(gate))
    task = asyncio.create_task(answer(scheduler, model))
    await until(lambda: "begin" in lines(model.weights_path, "calls"))
    await scheduler.unload(model)
    assert [runner.running for runner in scheduler.loaded()] == [1]
    gate.touch()
    assert await task == "Hello world"
    await until(lambda: names(scheduler) == [])


async def test_a_load_finishes_when_its_model_is_unloaded_meanwhile(
    make_scheduler: MakeScheduler, make_model: MakeModel, short_dir: Path
) -> None:
    gate = short_dir / "gate"
    scheduler, model = make_scheduler(), make_model(load_gate=str(gate))
    task = asyncio.create_task(answer(scheduler, model))
    await until(lambda: bool(starts(model.weights_path)))
    await scheduler.unload(model)
    gate.touch()
    assert await task == "Hello world"
    await until(lambda: names(scheduler) == [])


async def test_models_are_swapped_when_only_one_may_be_loaded(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler = make_scheduler(OLLAMA_MAX_LOADED_MODELS="1")
    models = [make_model(name) for name in "abc"]
    answers = await asyncio.gather(*(answer(scheduler, models[n % 3]) for n in range(12)))
    assert answers == ["Hello world"] * 12
    assert [len(starts(model.weights_path)) for model in models] == [1, 1, 1]
    assert len(names(scheduler)) == 1


async def test_on_change_is_called_when_the_loaded_set_changes(
    make_scheduler: MakeScheduler, make_model: MakeModel
) -> None:
    scheduler, model = make_scheduler(), make_model()
    seen: list[list[str]] = []
    scheduler.on_change.append(lambda: seen.append(names(scheduler)))
    await answer(scheduler, model)
    await scheduler.unload(model)
    assert seen == [["weights"], []]
