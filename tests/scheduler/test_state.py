"""The scheduler's decisions, as events in and effects out."""

from collections.abc import Iterable
from typing import Any

import pytest

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.errors import Busy, InsufficientMemory, RunnerStartFailed
from ollama_jupyter.quantities import FOREVER_NS, SECOND_NS
from ollama_jupyter.scheduler.events import (
    Closed,
    Effect,
    Event,
    Grant,
    LoadedChanged,
    Refuse,
    RequestArrived,
    RequestEnded,
    RunnerExited,
    RunnerReady,
    StartRunner,
    StopRunner,
    TimePassed,
    UnloadRequested,
)
from ollama_jupyter.scheduler.placement import Memory, Policy, Want
from ollama_jupyter.scheduler.records import Status
from ollama_jupyter.scheduler.state import State
from tests.scheduler.shapes import GIB, MIB, PLENTY, FakeShape, want_for

KEEP_ALIVE_NS = 300 * SECOND_NS


class Table:
    """Drives a state and writes effects down in short: "start 1", "grant 2@1", "refuse 3"."""

    def __init__(self, *, slots: int = 1, max_queue: int = 100, max_loaded: int = 3) -> None:
        self.state = State(
            Policy(num_parallel=slots),
            max_queue=max_queue,
            max_loaded=max_loaded,
            keep_alive_ns=KEEP_ALIVE_NS,
        )
        self.now_ns = 1000 * SECOND_NS
        self.memory = PLENTY
        self.refusals: dict[int, Exception] = {}

    def feed(self, event: Event) -> list[str]:
        effects = self.state.handle(event, now_ns=self.now_ns, memory=self.memory)
        check(self.state)
        return [short for effect in effects if (short := self._short(effect))]

    def _short(self, effect: Effect) -> str:
        match effect:
            case StartRunner():
                return f"start {effect.runner}"
            case StopRunner():
                return f"stop {effect.runner}"
            case Grant():
                return f"grant {effect.request}@{effect.runner}"
            case Refuse():
                self.refusals[effect.request] = effect.error
                return f"refuse {effect.request}"
            case LoadedChanged():
                return ""

    def ask(
        self, request: int, want: Want | str = "a", keep_alive_ns: int | None = None
    ) -> list[str]:
        want = want_for(want) if isinstance(want, str) else want
        return self.feed(RequestArrived(request=request, want=want, keep_alive_ns=keep_alive_ns))

    def end(self, request: int) -> list[str]:
        return self.feed(RequestEnded(request=request))

    def ready(self, runner: int, **measured: Any) -> list[str]:  # noqa: ANN401 - of RunnerReady
        return self.feed(RunnerReady(runner=runner, **measured))

    def exit(self, runner: int, error: RunnerStartFailed | None = None) -> list[str]:
        return self.feed(RunnerExited(runner=runner, error=error))

    def wait(self, seconds: float) -> list[str]:
        self.now_ns += int(seconds * SECOND_NS)
        return self.feed(TimePassed())

    def load(self, runner: int, request: int, want: Want | str = "a", **ask: int | None) -> None:
        """Bring a runner to READY and idle."""
        assert self.ask(request, want, **ask) == [f"start {runner}"]
        assert self.ready(runner) == [f"grant {request}@{runner}"]
        assert not [effect for effect in self.end(request) if "grant" in effect]


def check(state: State) -> None:
    """What must hold after every event."""
    weights = [runner.want.weights for runner in state.runners.values()]
    assert len(weights) == len(set(weights)), "two runners for the same weights"
    leased = [lease for runner in state.runners.values() for lease in runner.leases]
    assert len(leased) == len(set(leased)), "a request with two slots"
    assert not set(leased) & set(state.waiters), "a request that waits and has a slot"
    assert list(state.waiters) == sorted(state.waiters), "the queue is out of order"
    for runner in state.runners.values():
        boarded = [it for it in state.waiters.values() if it.runner == runner.number]
        assert len(runner.leases) <= runner.placement.slots, "more leases than slots"
        if runner.status is Status.READY:
            is_full = len(runner.leases) == runner.placement.slots
            assert is_full or not boarded, "somebody waits for a free slot"
            is_used = bool(runner.leases)
            assert not (is_used and runner.expires_at_ns is not None), "it expires while in use"
        else:
            assert not (runner.status is Status.LOADING and runner.leases), "lent while loading"
            assert runner.status is not Status.STOPPING or not boarded, "waiting for a stopped one"
    for waiter in state.waiters.values():
        assert waiter.runner is None or waiter.runner in state.runners, "boarded on nothing"


def joined(effects: Iterable[list[str]]) -> list[str]:
    return [effect for step in effects for effect in step]


# --- loading --------------------------------------------------------------------------------


def test_one_runner_starts_when_many_cold_requests_arrive() -> None:
    table = Table(slots=4)
    assert joined(table.ask(number) for number in range(1, 21)) == ["start 1"]
    assert table.ready(1) == ["grant 1@1", "grant 2@1", "grant 3@1", "grant 4@1"]
    assert table.end(2) == ["grant 5@1"]


def test_a_loaded_runner_is_granted_at_once_when_it_has_a_slot() -> None:
    table = Table(slots=2)
    table.load(1, 1)
    assert table.ask(2) == ["grant 2@1"]
    assert table.ask(3) == ["grant 3@1"]
    assert table.ask(4) == []
    assert table.end(3) == ["grant 4@1"]


def test_two_models_load_side_by_side_when_both_fit() -> None:
    table = Table()
    assert table.ask(1, "a") == ["start 1"]
    assert table.ask(2, "b") == ["start 2"]
    assert table.ready(2) == ["grant 2@2"]
    assert table.ready(1) == ["grant 1@1"]


def test_the_load_is_aborted_when_all_its_waiters_left() -> None:
    table = Table()
    table.ask(1)
    table.ask(2)
    assert table.end(1) == []
    assert table.end(2) == ["stop 1"]
    assert table.ask(3) == []
    assert table.exit(1) == ["start 2"]
    assert table.ready(2) == ["grant 3@2"]


def test_everybody_who_waits_gets_the_error_when_the_load_fails() -> None:
    table = Table()
    table.ask(1)
    table.ask(2)
    table.load(2, 3, "b")
    assert table.exit(1, RunnerStartFailed("no", exit_code=3)) == ["refuse 1", "refuse 2"]
    assert str(table.refusals[1]) == "no"
    assert table.refusals[1] is not table.refusals[2]
    assert list(table.state.runners) == [2]
    assert table.ask(4) == ["start 3"]


def test_a_late_ready_means_nothing_when_the_runner_is_stopping() -> None:
    table = Table()
    table.ask(1)
    table.end(1)
    assert table.ready(1) == []
    assert table.ready(77) == []
    assert table.exit(77) == []


def test_a_measured_size_replaces_the_estimate_when_the_runner_is_ready() -> None:
    table = Table()
    table.ask(1)
    estimate = table.state.runners[1].size_bytes
    table.ready(1, size_bytes=300 * MIB, vram_bytes=50 * MIB, num_ctx=2048)
    runner = table.state.runners[1]
    assert estimate != runner.size_bytes == 300 * MIB
    assert (runner.host_bytes, runner.placement.num_ctx) == (250 * MIB, 2048)


def test_weights_count_fully_when_less_is_resident() -> None:
    table = Table()
    table.ask(1)
    table.ready(1, size_bytes=MIB)
    assert table.state.runners[1].size_bytes == 100 * MIB


# --- the queue ------------------------------------------------------------------------------


def test_nine_are_served_and_the_rest_refused_when_eight_may_wait_for_one_slot() -> None:
    table = Table(slots=1, max_queue=8)
    table.load(1, 1)
    effects = joined(table.ask(number) for number in range(2, 42))
    assert effects[0] == "grant 2@1"
    assert effects[1:] == [f"refuse {number}" for number in range(11, 42)]
    assert isinstance(table.refusals[41], Busy)
    assert str(table.refusals[41]) == (
        "server busy, please try again.  maximum pending requests exceeded"
    )


def test_nine_are_served_and_the_rest_refused_when_the_model_is_cold() -> None:
    table = Table(slots=1, max_queue=8)
    effects = joined(table.ask(number) for number in range(1, 41))
    assert effects == ["start 1", *(f"refuse {number}" for number in range(10, 41))]


def test_requests_without_a_runner_count_when_the_queue_is_full() -> None:
    table = Table(max_queue=2, max_loaded=1)
    table.ask(1, "a")
    table.ready(1)
    assert table.ask(2, "b") == []
    assert table.ask(3, "c") == []
    assert table.ask(4, "a") == ["refuse 4"]
    table.end(3)
    assert table.ask(5, "c") == []


def test_no_queue_serves_what_has_a_slot_when_nobody_may_wait() -> None:
    table = Table(max_queue=0)
    assert table.ask(1) == ["start 1"]
    assert table.ask(2) == ["refuse 2"]
    assert table.ready(1) == ["grant 1@1"]


def test_a_cancelled_waiter_is_skipped_when_its_turn_comes() -> None:
    table = Table()
    table.load(1, 1)
    table.ask(2)
    table.ask(3)
    table.ask(4)
    assert table.end(3) == []
    assert table.end(2) == ["grant 4@1"]


def test_ending_an_unknown_request_changes_nothing() -> None:
    table = Table()
    table.load(1, 1)
    assert table.end(99) == []
    assert table.end(1) == []


# --- keep-alive -----------------------------------------------------------------------------


def test_the_default_keep_alive_counts_from_the_end_of_the_last_request() -> None:
    table = Table(slots=2)
    table.ask(1)
    table.ready(1)
    table.ask(2)
    table.now_ns += 200 * SECOND_NS
    table.end(1)
    table.now_ns += 200 * SECOND_NS
    table.end(2)
    assert table.state.wake_at_ns == table.now_ns + KEEP_ALIVE_NS
    assert table.wait(299.9) == []
    assert table.wait(0.1) == ["stop 1"]


@pytest.mark.parametrize(
    ("keep_alive_ns", "left_ns"),
    [
        (None, KEEP_ALIVE_NS),
        (1, 1),
        (10 * SECOND_NS, 10 * SECOND_NS),
        (FOREVER_NS - 1, FOREVER_NS - 1),
    ],
)
def test_a_keep_alive_sets_when_an_idle_runner_goes(
    keep_alive_ns: int | None, left_ns: int
) -> None:
    table = Table()
    table.load(1, 1, keep_alive_ns=keep_alive_ns)
    assert table.state.wake_at_ns == table.now_ns + left_ns


def test_a_runner_stops_with_its_request_when_the_keep_alive_is_zero() -> None:
    table = Table()
    table.ask(1, keep_alive_ns=0)
    assert table.ready(1) == ["grant 1@1"]
    assert table.end(1) == ["stop 1"]


def test_a_runner_stays_when_the_keep_alive_is_for_ever() -> None:
    table = Table()
    table.load(1, 1, keep_alive_ns=FOREVER_NS)
    assert table.state.wake_at_ns is None
    assert table.wait(10**9) == []


def test_a_request_without_keep_alive_leaves_it_as_it_was() -> None:
    table = Table()
    table.load(1, 1, keep_alive_ns=10 * SECOND_NS)
    table.ask(2)
    table.end(2)
    assert table.state.wake_at_ns == table.now_ns + 10 * SECOND_NS


def test_a_runner_never_stops_when_a_request_is_longer_than_its_keep_alive() -> None:
    table = Table()
    table.ask(1, keep_alive_ns=SECOND_NS)
    table.ready(1)
    assert table.state.wake_at_ns is None
    assert table.wait(100) == []
    assert table.end(1) == []
    assert table.wait(1) == ["stop 1"]


def test_an_early_timer_changes_nothing() -> None:
    table = Table()
    table.load(1, 1)
    assert table.feed(TimePassed()) == []


# --- unloading ------------------------------------------------------------------------------


def test_unload_stops_at_once_when_the_runner_is_idle() -> None:
    table = Table()
    table.load(1, 1, keep_alive_ns=FOREVER_NS)
    table.load(2, 2, "b")
    assert table.feed(UnloadRequested(weights="a")) == ["stop 1"]
    assert table.feed(UnloadRequested(weights="a")) == []
    assert table.feed(UnloadRequested(weights=None)) == ["stop 2"]


def test_unload_lets_requests_finish_when_the_runner_is_busy() -> None:
    table = Table()
    table.load(1, 1)
    table.ask(2)
    table.ask(3, keep_alive_ns=FOREVER_NS)
    assert table.feed(UnloadRequested(weights="a")) == []
    assert table.end(2) == ["grant 3@1"]
    assert table.end(3) == ["stop 1"]


def test_unload_lets_the_load_finish_when_somebody_waits_for_it() -> None:
    table = Table()
    table.ask(1)
    assert table.feed(UnloadRequested(weights="a")) == []
    assert table.ready(1) == ["grant 1@1"]
    assert table.end(1) == ["stop 1"]


def test_a_new_request_keeps_an_unloading_runner_when_it_says_how_long() -> None:
    table = Table()
    table.ask(1)
    table.ready(1)
    table.feed(UnloadRequested(weights="a"))
    assert table.ask(2, keep_alive_ns=9 * SECOND_NS) == []
    table.end(1)
    assert table.end(2) == []
    assert table.state.wake_at_ns == table.now_ns + 9 * SECOND_NS


def test_a_request_waits_for_a_fresh_runner_when_the_old_one_is_stopping() -> None:
    table = Table()
    table.load(1, 1, keep_alive_ns=0)
    assert table.ask(2) == []
    assert table.exit(1) == ["start 2"]


# --- another runner for the same weights -----------------------------------------------------


def test_a_larger_num_ctx_reloads_when_the_running_requests_are_done() -> None:
    table = Table()
    large = want_for(options=RunnerOptions(num_ctx=8000))
    table.load(1, 1)
    table.ask(2)
    assert table.ask(3, large) == []
    assert table.ask(4) == []  # it would do for this one, but 3 came first
    assert table.end(2) == ["stop 1"]
    assert table.exit(1) == ["start 2"]
    assert table.ready(2) == ["grant 3@2"]
    assert table.end(3) == ["grant 4@2"]  # a larger context serves a smaller wish


def test_a_smaller_num_ctx_does_not_reload() -> None:
    table = Table()
    table.load(1, 1)
    assert table.ask(2, want_for(options=RunnerOptions(num_ctx=100))) == ["grant 2@1"]


def test_other_adapters_reload_after_those_who_wait_for_a_load() -> None:
    table = Table()
    table.ask(1)
    table.ask(2)
    assert table.ask(3, want_for(adapters=("x",))) == []
    assert table.ask(4) == []
    assert table.ready(1) == ["grant 1@1"]
    assert table.end(1) == ["grant 2@1"]
    assert table.end(2) == ["stop 1"]
    assert table.exit(1) == ["start 2"]
    assert table.ready(2) == ["grant 3@2"]
    assert table.end(3) == ["stop 2"]
    assert table.exit(2) == ["start 3"]
    assert table.ready(3) == ["grant 4@3"]


def test_draining_ends_when_the_one_who_wanted_the_room_left() -> None:
    table = Table()
    table.load(1, 1)
    table.ask(2)
    table.ask(3, want_for(adapters=("x",)))
    table.ask(4)
    assert table.end(3) == []
    assert table.end(2) == ["grant 4@1"]
    assert table.end(4) == []


# --- eviction -------------------------------------------------------------------------------


def test_the_idle_runner_goes_when_there_are_too_many() -> None:
    table = Table(max_loaded=2)
    table.load(1, 1, "a")
    table.load(2, 2, "b")
    table.ask(3, "a")
    assert table.ask(4, "c") == ["stop 2"]
    assert table.exit(2) == ["start 3"]


def test_the_shortest_keep_alive_goes_when_several_are_idle() -> None:
    table = Table(max_loaded=3)
    table.load(1, 1, "a", keep_alive_ns=FOREVER_NS)
    table.load(2, 2, "b", keep_alive_ns=10 * SECOND_NS)
    table.load(3, 3, "c", keep_alive_ns=20 * SECOND_NS)
    assert table.ask(4, "d") == ["stop 2"]


def test_the_least_recently_used_goes_when_keep_alives_are_equal() -> None:
    table = Table(max_loaded=2)
    table.load(1, 1, "a")
    table.now_ns += SECOND_NS
    table.load(2, 2, "b")
    table.now_ns += SECOND_NS
    table.ask(3, "a")
    table.end(3)
    assert table.ask(4, "c") == ["stop 2"]


def test_a_busy_victim_finishes_and_takes_nobody_new() -> None:
    table = Table(slots=2, max_loaded=1)
    table.load(1, 1, "a")
    table.ask(2, "a")
    assert table.ask(3, "b") == []
    assert table.ask(4, "a") == []  # there is a free slot, but 3 came first
    assert table.end(2) == ["stop 1"]
    assert table.exit(1) == ["start 2"]
    assert table.ready(2) == ["grant 3@2"]
    assert table.end(3) == ["stop 2"]
    assert table.exit(2) == ["start 3"]
    assert table.ready(3) == ["grant 4@3"]


def test_those_who_boarded_before_are_served_when_their_runner_drains() -> None:
    table = Table(max_loaded=1)
    table.load(1, 1, "a")
    table.ask(2, "a")
    table.ask(3, "a")
    table.ask(4, "b")
    assert table.end(2) == ["grant 3@1"]
    assert table.end(3) == ["stop 1"]


def test_a_busy_victim_stays_the_victim_when_another_was_used_longer_ago() -> None:
    table = Table(slots=2, max_loaded=2)
    table.load(1, 1, "a")
    table.load(2, 2, "b")
    for request, weights in ((3, "a"), (4, "a"), (5, "b"), (6, "b")):
        table.now_ns += SECOND_NS
        table.ask(request, weights)
    table.ask(7, "c")
    table.now_ns += SECOND_NS
    table.end(3)
    assert table.ask(8, "a") == []
    assert table.end(4) == ["stop 1"]


def test_nobody_is_stopped_when_the_new_model_could_never_fit() -> None:
    table = Table()
    table.memory = Memory(available_bytes=8 * GIB, total_bytes=8 * GIB)
    table.load(1, 1, "a")
    huge = want_for("b", shape=FakeShape(weights_bytes=9 * GIB))
    assert table.ask(2, huge) == ["refuse 2"]
    error = table.refusals[2]
    assert isinstance(error, InsufficientMemory)
    assert error.wanted_bytes > error.free_bytes == 8 * GIB
    assert str(error).startswith("model requires more system memory (9.1 GiB)")


def test_memory_makes_room_one_victim_at_a_time() -> None:
    table = Table(max_loaded=9)
    table.memory = Memory(available_bytes=10 * GIB, total_bytes=10 * GIB)
    big = FakeShape(weights_bytes=3 * GIB)
    table.load(1, 1, want_for("a", shape=big))
    table.now_ns += SECOND_NS
    table.load(2, 2, want_for("b", shape=big))
    table.memory = Memory(available_bytes=3 * GIB, total_bytes=10 * GIB)
    assert table.ask(3, want_for("c", shape=FakeShape(weights_bytes=4 * GIB))) == ["stop 1"]
    table.memory = Memory(available_bytes=6 * GIB, total_bytes=10 * GIB)
    assert table.exit(1) == ["start 3"]


def test_a_load_waits_when_another_load_may_leave_enough_memory() -> None:
    table = Table()
    table.memory = Memory(available_bytes=10 * GIB, total_bytes=10 * GIB)
    table.ask(1, want_for("a", shape=FakeShape(weights_bytes=6 * GIB)))
    assert table.ask(2, want_for("b", shape=FakeShape(weights_bytes=5 * GIB))) == []
    assert table.ready(1) == ["grant 1@1"]
    assert table.end(1) == ["stop 1"]
    assert table.exit(1) == ["start 2"]


def test_the_request_is_refused_when_memory_is_short_with_nothing_loaded() -> None:
    table = Table()
    table.memory = Memory(available_bytes=100 * MIB, total_bytes=64 * GIB)
    assert table.ask(1) == ["refuse 1"]
    assert table.ask(2) == ["refuse 2"]


# --- death and shutdown -----------------------------------------------------------------------


def test_the_waiting_get_a_fresh_runner_when_theirs_dies() -> None:
    table = Table()
    table.load(1, 1)
    table.ask(2)
    table.ask(3)
    assert table.exit(1) == ["start 2"]
    assert table.end(2) == []
    assert table.ready(2) == ["grant 3@2"]


def test_a_dead_idle_runner_is_forgotten() -> None:
    table = Table()
    table.load(1, 1)
    assert table.exit(1) == []
    assert table.ask(2) == ["start 2"]


def test_closing_stops_all_and_refuses_all() -> None:
    table = Table()
    table.load(1, 1, "a")
    table.ask(2, "a")
    table.ask(3, "a")
    table.ask(4, "b")
    assert table.feed(Closed()) == ["refuse 3", "refuse 4", "stop 1", "stop 2"]
    assert table.end(2) == []
    assert table.ask(5, "a") == ["refuse 5"]
    assert "shutting down" in str(table.refusals[5])


def test_loaded_changed_comes_once_when_the_loaded_set_changes() -> None:
    table = Table()
    changes = []
    for event in (
        RequestArrived(request=1, want=want_for()),
        RunnerReady(runner=1),
        RequestEnded(request=1),
        UnloadRequested(weights=None),
        RunnerExited(runner=1),
    ):
        effects = table.state.handle(event, now_ns=0, memory=PLENTY)
        changes.append(effects.count(LoadedChanged()))
    assert changes == [0, 1, 0, 1, 0]
