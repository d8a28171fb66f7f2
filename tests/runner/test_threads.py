"""Threads that give way to other processes, and come back."""

from pathlib import Path

from ollama_jupyter.runner.threads import ThreadCount, waited_ns

LOOK_NS = 250_000_000


class _Machine:
    """Time passes, a look at a time, and threads wait a share of it."""

    def __init__(self, most: int = 2) -> None:
        self.threads = ThreadCount(most)
        self.now_ns = 10**12
        self.waited_ns = 0
        self.threads.skip(self.now_ns, 0)

    def pass_looks(self, count: int, *, share: float) -> list[int]:
        counts = []
        for _ in range(count):
            self.now_ns += LOOK_NS
            self.waited_ns += int(share * LOOK_NS * self.threads.count)
            assert self.threads.is_due(self.now_ns)
            self.threads.look(self.now_ns, self.waited_ns)
            counts.append(self.threads.count)
        return counts


def test_quiet_machine_keeps_all_threads() -> None:
    assert set(_Machine(4).pass_looks(40, share=0.02)) == {4}


def test_crowded_machine_leaves_one_thread_in_the_end() -> None:
    assert _Machine(4).pass_looks(4, share=0.4) == [3, 2, 1, 1]


def test_threads_come_back_when_the_machine_is_quiet_again() -> None:
    machine = _Machine()
    machine.pass_looks(1, share=0.4)

    counts = machine.pass_looks(8, share=0.0)

    assert counts == [1] * 7 + [2]


def test_way_back_is_tried_less_and_less_often() -> None:
    machine = _Machine()
    tries = []
    for look in range(400):
        before = machine.threads.count
        machine.pass_looks(1, share=0.4 if before == 2 else 0.0)
        if machine.threads.count > before:
            tries.append(look)

    gaps = [later - earlier for earlier, later in zip(tries, tries[1:], strict=False)]  # noqa: RUF007 - gaps
    assert gaps == sorted(gaps)
    assert gaps[-1] > 4 * gaps[0]


def test_one_thread_never_looks() -> None:
    threads = ThreadCount(1)

    assert not threads.is_due(10**15)
    assert ThreadCount(0).count == 1


def test_time_without_work_does_not_count() -> None:
    machine = _Machine()
    machine.waited_ns += 10 * LOOK_NS
    machine.now_ns += LOOK_NS
    machine.threads.skip(machine.now_ns, machine.waited_ns)

    assert machine.pass_looks(1, share=0.0) == [2]


def test_thread_that_ended_counts_as_no_waiting() -> None:
    machine = _Machine()
    machine.waited_ns = 10**9
    machine.threads.skip(machine.now_ns, machine.waited_ns)
    machine.waited_ns = 0

    assert machine.pass_looks(1, share=0.0) == [2]


def test_waited_ns_adds_up_the_threads(tmp_path: Path) -> None:
    for task, line in (("1", "500 70 3\n"), ("2", "600 30 9\n")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(line)

    assert waited_ns(tmp_path) == 100


def test_waited_ns_is_nothing_where_the_system_does_not_count(tmp_path: Path) -> None:
    assert waited_ns(tmp_path / "absent") == 0
