"""Whether a runner that does not answer, or does not get on, still lives.

A slow machine and a dead engine look alike from outside: both are silent. What tells them apart is
work. As long as the engine's heartbeat grows, or the process uses the processor, or it waits for
pages of the weights to come from disk, it lives. Looks are counted, not seconds: after a suspended
machine wakes up, the time that passed says nothing.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ollama_jupyter.quantities import SECOND_NS
from ollama_jupyter.runner.wire import Health

LOOK_SECONDS: Final = 1.0
_QUIET_LOOKS: Final = 3
_UNANSWERED_LOOKS: Final = 30
_WORKING_SHARE: Final = 0.1
_LONGEST_POLL_NS: Final = 2 * SECOND_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process has done since it started, and what it is at.

    Attributes:
        cpu_seconds: processor time used.
        page_reads: pages read from disk (proc(5), field majflt of /proc/pid/stat); Linux only.
        is_stopped: whether a signal holds it.
        is_reading: whether it waits for a disk right now.
    """

    cpu_seconds: float = 0.0
    page_reads: int = 0
    is_stopped: bool = False
    is_reading: bool = False


def work_of(pid: int) -> Work:
    """What the process did so far; nothing when it is gone."""
    try:
        process = psutil.Process(pid)
        times, status = process.cpu_times(), process.status()
    except psutil.Error:
        return Work()
    page_reads = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
        page_reads = int(after_name.split()[9])
    return Work(
        cpu_seconds=times.user + times.system,
        page_reads=page_reads,
        is_stopped=status == psutil.STATUS_STOPPED,
        is_reading=status == psutil.STATUS_DISK_SLEEP,
    )


class Pulse:
    """Judges one runner from a row of looks, each about `LOOK_SECONDS` after the last.

    Attributes:
        is_working: whether the last look found it using a processor or a disk.
    """

    def __init__(self, work: Work, *, has_answered: bool) -> None:
        """Begin with what the process had done before the first look.

        Args:
            work: that.
            has_answered: whether the process is known to have started up.
        """
        self.is_working = False
        self._work = work
        self._heartbeat = -1
        self._has_answered = has_answered
        self._quiet_looks = 0
        self._unanswered_looks = 0

    def is_dead(self, health: Health | None, work: Work) -> bool:
        """Take one look and say whether the runner hangs.

        A process that has not answered yet may still be starting up, which takes as long as its
        disk takes; until its first answer only being stopped counts against it.

        Args:
            health: its answer; None when it gave none in time.
            work: what its process did so far.
        """
        self.is_working = self._has_worked(work)
        self._has_answered = self._has_answered or health is not None
        self._unanswered_looks = 0 if health else self._unanswered_looks + 1
        if self.is_working or self._is_well(health, work):
            self._quiet_looks = 0
        else:
            self._quiet_looks += 1
        is_deaf = self._has_answered and self._unanswered_looks >= _UNANSWERED_LOOKS
        return is_deaf or self._quiet_looks >= _QUIET_LOOKS

    def _has_worked(self, work: Work) -> bool:
        before, self._work = self._work, work
        return (
            work.cpu_seconds - before.cpu_seconds > _WORKING_SHARE * LOOK_SECONDS
            or work.page_reads != before.page_reads
            or work.is_reading
        )

    def _is_well(self, health: Health | None, work: Work) -> bool:
        if health is None:
            return not (self._has_answered or work.is_stopped)
        has_moved = health.heartbeat != self._heartbeat
        self._heartbeat = health.heartbeat
        return has_moved or health.running == 0


class LoadWatch:
    """Watches one load for a stall or a hang.

    A load stalls when for the whole timeout it neither reports more bytes, nor writes to its log,
    nor works. Time in which nobody polled does not count: then the whole machine slept.
    """

    def __init__(self, stall_timeout_ns: int) -> None:
        """Begin to watch; `stall_timeout_ns` of FOREVER_NS never ends."""
        self._stall_timeout_ns = stall_timeout_ns
        self._mark = (0, 0, 0)
        self._completed = 0
        self._stalled_ns = 0
        self._polled_at_ns: int | None = None
        self._pulse = Pulse(Work(), has_answered=False)
        self._since_look_ns = 0

    def why_given_up(self, health: Health | None, *, log_bytes: int, pid: int, now_ns: int) -> str:
        """Take a poll's findings; why there is no hope left, "" while there is.

        Args:
            health: the answer; None when there was none.
            log_bytes: what it wrote to its log so far.
            pid: the process, another one after a second try.
            now_ns: monotonic time.
        """
        passed_ns = min(now_ns - (self._polled_at_ns or now_ns), _LONGEST_POLL_NS)
        self._polled_at_ns = now_ns
        self._completed = health.completed if health else self._completed
        self._stalled_ns += passed_ns
        self._since_look_ns += passed_ns
        if (self._completed, log_bytes, pid) != self._mark:
            if pid != self._mark[2]:
                self._pulse = Pulse(work_of(pid), has_answered=False)
            self._mark = (self._completed, log_bytes, pid)
            self._stalled_ns = 0
        if self._since_look_ns >= LOOK_SECONDS * SECOND_NS:
            self._since_look_ns = 0
            if self._pulse.is_dead(health, work_of(pid)):
                return "the model runner hung while it loaded"
            if self._pulse.is_working:
                self._stalled_ns = 0
        if self._stalled_ns > self._stall_timeout_ns:
            return "timed out waiting for the model runner to start"
        return ""
