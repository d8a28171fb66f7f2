"""Judging a runner by looks: tables of what was seen, and when it counts as dead."""

import os

import pytest

from ollama_jupyter.quantities import FOREVER_NS, SECOND_NS
from ollama_jupyter.runner import liveness
from ollama_jupyter.runner.liveness import LoadWatch, Pulse, Work, work_of
from ollama_jupyter.runner.wire import Health

IDLE = Work()
Look = tuple[Health | None, Work]


def health(*, heartbeat: int = 0, running: int = 1) -> Health:
    return Health(status="ok", heartbeat=heartbeat, running=running)


def first_death(looks: list[Look], *, has_answered: bool = True) -> int | None:
    """Number of the look, from 1, that finds it dead; None when none does."""
    pulse = Pulse(IDLE, has_answered=has_answered)
    for number, (answer, work) in enumerate(looks, 1):
        if pulse.is_dead(answer, work):
            return number
    return None


def busy(count: int, share: float) -> list[Work]:
    return [Work(cpu_seconds=share * number) for number in range(1, count + 1)]


def test_pulse_finds_death_at_the_third_look_when_nothing_answers_or_works() -> None:
    assert first_death([(None, IDLE)] * 10) == 3


def test_pulse_finds_death_when_the_heartbeat_stands_still() -> None:
    assert first_death([(health(heartbeat=7), IDLE)] * 10) == 4


@pytest.mark.parametrize(
    "looks",
    [
        [(health(heartbeat=number), IDLE) for number in range(40)],
        [(health(running=0), IDLE)] * 40,
        [(health(heartbeat=7), work) for work in busy(40, 0.2)],
        [(health(heartbeat=7), Work(page_reads=number)) for number in range(1, 40)],
        [(health(heartbeat=7), Work(is_reading=True))] * 40,
        [(None, work) for work in busy(29, 0.5)],
    ],
    ids=["heartbeat", "nothing to do", "processor", "page reads", "disk", "deaf but working"],
)
def test_pulse_finds_life_when_there_is_a_sign_of_it(looks: list[Look]) -> None:
    assert first_death(looks) is None


def test_pulse_finds_death_when_it_only_answers_health() -> None:
    # Answering costs a little processor time, which must not pass for work.
    assert first_death([(health(heartbeat=7), work) for work in busy(10, 0.02)]) == 4


def test_pulse_gives_up_when_it_works_but_is_deaf_for_long() -> None:
    assert first_death([(None, work) for work in busy(40, 0.9)]) == 30


def test_pulse_begins_again_when_a_sign_of_life_comes_in_between() -> None:
    looks: list[Look] = [(None, IDLE), (None, IDLE), (health(heartbeat=1), IDLE)]
    assert first_death([*looks, (None, IDLE), (None, IDLE)]) is None
    assert first_death([*looks, (None, IDLE), (None, IDLE), (None, IDLE)]) == 6


def test_pulse_waits_when_a_starting_process_has_not_answered_yet() -> None:
    assert first_death([(None, IDLE)] * 100, has_answered=False) is None


def test_pulse_finds_death_when_a_starting_process_is_stopped() -> None:
    assert first_death([(None, Work(is_stopped=True))] * 5, has_answered=False) == 3


def test_pulse_finds_death_when_a_loading_process_falls_silent() -> None:
    loading = Health(status="loading")
    looks: list[Look] = [(loading, IDLE)] * 5 + [(None, IDLE)] * 5
    assert first_death(looks, has_answered=False) == 8


def test_work_of_counts_processor_time_when_the_process_lives() -> None:
    assert work_of(os.getpid()).cpu_seconds > 0
    assert not work_of(os.getpid()).is_stopped


def test_work_of_is_nothing_when_the_process_is_gone() -> None:
    assert work_of(2**22 + 1) == Work()


# --- loading --------------------------------------------------------------------------------

LOADING = Health(status="loading", completed=1, total=2)


def polls_until_given_up(
    monkeypatch: pytest.MonkeyPatch,
    *,
    timeout_ns: int,
    step_ns: int = SECOND_NS // 2,
    cpu_share: float = 0.0,
    log_bytes_a_poll: int = 0,
) -> int | None:
    """Number of the poll that gives up, from 1, out of a hundred; None when none does."""
    watch = LoadWatch(timeout_ns)
    for poll in range(1, 101):
        work = Work(cpu_seconds=poll * cpu_share / 2)
        monkeypatch.setattr(liveness, "work_of", lambda _pid, work=work: work)
        reason = watch.why_given_up(
            LOADING, log_bytes=poll * log_bytes_a_poll, pid=7, now_ns=poll * step_ns
        )
        if reason:
            assert "timed out" in reason
            return poll
    return None


def test_load_watch_gives_up_when_nothing_moves_for_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert polls_until_given_up(monkeypatch, timeout_ns=3 * SECOND_NS) == 8


def test_load_watch_waits_when_the_log_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = polls_until_given_up(monkeypatch, timeout_ns=3 * SECOND_NS, log_bytes_a_poll=1)
    assert polls is None


def test_load_watch_waits_when_the_process_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert polls_until_given_up(monkeypatch, timeout_ns=3 * SECOND_NS, cpu_share=0.5) is None


def test_load_watch_waits_when_the_timeout_is_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert polls_until_given_up(monkeypatch, timeout_ns=FOREVER_NS) is None


def test_load_watch_counts_two_seconds_when_the_machine_slept_for_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    polls = polls_until_given_up(monkeypatch, timeout_ns=10 * SECOND_NS, step_ns=3600 * SECOND_NS)
    assert polls == 7


def test_load_watch_begins_again_when_a_second_process_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(liveness, "work_of", lambda _pid: Work())
    watch = LoadWatch(3 * SECOND_NS)
    for poll in range(20):
        pid = 1 + poll // 5
        assert not watch.why_given_up(None, log_bytes=0, pid=pid, now_ns=poll * SECOND_NS // 2)
