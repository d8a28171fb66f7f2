"""The scheduler's decisions under random events: invariants hold, and nobody is forgotten."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.errors import RunnerStartFailed
from ollama_jupyter.quantities import FOREVER_NS, SECOND_NS
from ollama_jupyter.scheduler.events import (
    Closed,
    Event,
    Grant,
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
from ollama_jupyter.scheduler.placement import Memory, Policy
from ollama_jupyter.scheduler.records import Status
from ollama_jupyter.scheduler.state import State
from tests.scheduler.shapes import GIB, FakeShape, want_for
from tests.scheduler.test_state import check

SIZES = {"a": GIB, "b": 2 * GIB, "c": 3 * GIB, "d": 40 * GIB}


class SchedulerMachine(RuleBasedStateMachine):
    """A world of requests and processes that does what the state asks, in any order."""

    @initialize(slots=st.integers(0, 3), max_queue=st.integers(0, 6), max_loaded=st.integers(1, 3))
    def begin(self, slots: int, max_queue: int, max_loaded: int) -> None:
        self.state = State(
            Policy(num_parallel=slots),
            max_queue=max_queue,
            max_loaded=max_loaded,
            keep_alive_ns=5 * SECOND_NS,
        )
        self.max_loaded = max_loaded
        self.now_ns = 0
        self.free_bytes = 8 * GIB
        self.last_request = 0
        self.waiting: set[int] = set()
        self.running: dict[int, int] = {}
        self.processes: dict[int, str] = {}

    def feed(self, event: Event) -> None:
        memory = Memory(available_bytes=self.free_bytes, total_bytes=8 * GIB)
        for effect in self.state.handle(event, now_ns=self.now_ns, memory=memory):
            match effect:
                case StartRunner():
                    assert effect.runner not in self.processes
                    self.processes[effect.runner] = "loading"
                case StopRunner():
                    assert self.processes[effect.runner] in ("loading", "ready")
                    assert effect.runner not in self.running.values()
                    self.processes[effect.runner] = "stopping"
                case Grant():
                    assert self.processes[effect.runner] == "ready"
                    self.waiting.remove(effect.request)
                    self.running[effect.request] = effect.runner
                case Refuse():
                    self.waiting.remove(effect.request)
                case _:
                    pass

    def pick(self, data: st.DataObject, status: str) -> int:
        return data.draw(
            st.sampled_from([it for it, state in self.processes.items() if state == status])
        )

    def has(self, status: str) -> bool:
        return status in self.processes.values()

    @rule(
        weights=st.sampled_from("aabbcd"),
        num_ctx=st.sampled_from([0, 0, 1000, 8000]),
        keep_alive_ns=st.sampled_from([None, 0, SECOND_NS, FOREVER_NS]),
    )
    def arrive(self, weights: str, num_ctx: int, keep_alive_ns: int | None) -> None:
        self.last_request += 1
        self.waiting.add(self.last_request)
        want = want_for(
            weights,
            shape=FakeShape(weights_bytes=SIZES[weights]),
            options=RunnerOptions(num_ctx=num_ctx),
        )
        self.feed(RequestArrived(request=self.last_request, want=want, keep_alive_ns=keep_alive_ns))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[request]
        self.feed(RequestEnded(request=request))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.waiting)))
        self.waiting.remove(request)
        self.feed(RequestEnded(request=request))

    @precondition(lambda self: self.has("loading"))
    @rule(data=st.data(), size_bytes=st.integers(0, 3 * GIB))
    def load(self, data: st.DataObject, size_bytes: int) -> None:
        runner = self.pick(data, "loading")
        self.processes[runner] = "ready"
        self.feed(RunnerReady(runner=runner, size_bytes=size_bytes))

    @precondition(lambda self: self.has("loading"))
    @rule(data=st.data())
    def fail_to_load(self, data: st.DataObject) -> None:
        runner = self.pick(data, "loading")
        del self.processes[runner]
        self.feed(RunnerExited(runner=runner, error=RunnerStartFailed("no")))

    @precondition(lambda self: self.has("ready"))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        runner = self.pick(data, "ready")
        del self.processes[runner]
        self.feed(RunnerExited(runner=runner))
        # Their clients see the connection break.
        for request in [it for it, user in self.running.items() if user == runner]:
            del self.running[request]
            self.feed(RequestEnded(request=request))

    @precondition(lambda self: self.has("stopping"))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        runner = self.pick(data, "stopping")
        del self.processes[runner]
        self.feed(RunnerExited(runner=runner))

    @rule(seconds=st.sampled_from([0, 1, 10]))
    def wait(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND_NS
        self.feed(TimePassed())

    @rule(weights=st.sampled_from(["a", "b", None]))
    def unload(self, weights: str | None) -> None:
        self.feed(UnloadRequested(weights=weights))

    @rule(free_bytes=st.integers(4 * GIB, 8 * GIB))
    def change_memory(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "state"):
            return
        check(self.state)
        assert set(self.state.waiters) == self.waiting
        assert {it.number: it.status.value for it in self.state.runners.values()} == self.processes
        assert len(self.processes) <= self.max_loaded
        if self.waiting and not self.running and not self.has("loading"):
            # Nothing that could end is going on, so somebody must be on the way out.
            assert self.has("stopping"), "everybody waits for nothing"

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        self.finish_everything()
        self.running.clear()  # closing interrupts them
        self.feed(Closed())
        for runner in list(self.processes):
            del self.processes[runner]
            self.feed(RunnerExited(runner=runner))
        assert not self.state.runners
        assert not self.state.waiters

    def finish_everything(self) -> None:
        """Let the world do its part; everybody who waits must be served or refused."""
        steps = 0
        while self.waiting:
            steps += 1
            assert steps < 1000, "somebody is never served"
            for runner, status in list(self.processes.items()):
                if status == "loading":
                    self.processes[runner] = "ready"
                    self.feed(RunnerReady(runner=runner))
                elif status == "stopping":
                    del self.processes[runner]
                    self.feed(RunnerExited(runner=runner))
            for request in list(self.running):
                del self.running[request]
                self.feed(RequestEnded(request=request))


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_nobody_is_passed_over_by_more_than_twice_the_queue_when_models_swap() -> None:
    state = State(Policy(num_parallel=2), max_queue=100, max_loaded=1, keep_alive_ns=FOREVER_NS)
    memory = Memory(available_bytes=8 * GIB, total_bytes=8 * GIB)
    clients, total = 8, 300
    arrived: dict[int, int] = {}  # request -> grants before it arrived
    grants = 0
    stopping: list[int] = []
    loading: list[int] = []
    running: list[int] = []
    passed_over: list[int] = []

    def feed(event: Event) -> None:
        nonlocal grants
        for effect in state.handle(event, now_ns=0, memory=memory):
            match effect:
                case StartRunner():
                    loading.append(effect.runner)
                case StopRunner():
                    stopping.append(effect.runner)
                case Grant():
                    passed_over.append(grants - arrived[effect.request])
                    grants += 1
                    running.append(effect.request)
                case Refuse():
                    raise AssertionError("refused")
                case _:
                    pass

    request = 0
    while grants < total:
        while len(state.waiters) + len(running) < clients:
            request += 1
            arrived[request] = grants
            # Two of three requests want the same model, the way to starve the others.
            weights = "abaaca"[request % 6]
            feed(RequestArrived(request=request, want=want_for(weights)))
        if loading:
            feed(RunnerReady(runner=loading.pop()))
        elif running:
            feed(RequestEnded(request=running.pop(0)))
        elif stopping:
            feed(RunnerExited(runner=stopping.pop()))
    assert max(passed_over) <= 2 * clients
    assert all(
        runner.status is not Status.STOPPING or not runner.leases
        for runner in state.runners.values()
    )
