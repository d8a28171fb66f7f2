"""How many threads compute: all that were granted, fewer while other processes want the cores.

The threads of a decode wait for each other many times a token, spinning. One that the kernel has
taken off its core holds all of them up, so on a busy machine fewer threads are faster (SmolLM2 on
two cores, one of them busy: 1 thread 128 tokens a second, 2 threads 58 to 80). What tells is the
time threads were ready to run but had no core, which the kernel counts.

After a retreat the way back is tried after two seconds, then after twice as long each time it
fails. `ThreadCount` is pure; `waited_ns` reads the figure.
"""

from pathlib import Path

_LOOK_NS = 250_000_000
_CROWDED_SHARE = 0.25
_FIRST_REST_NS = 2_000_000_000
_LAST_REST_NS = 64_000_000_000
_TASKS = Path("/proc/self/task")


class ThreadCount:
    """A number of threads that follows how crowded the cores are.

    Attributes:
        count: threads to compute with now.
    """

    def __init__(self, most: int) -> None:
        """Start with all of them.

        Args:
            most: threads granted; at least 1 is always used.
        """
        self._most = max(most, 1)
        self.count = self._most
        self._rest_ns = _FIRST_REST_NS
        self._changed_ns = 0
        self._looked_ns = 0
        self._waited_ns = 0

    def is_due(self, now_ns: int) -> bool:
        """Whether `look` would decide anything; cheap enough for every step."""
        return self._most > 1 and now_ns - self._looked_ns >= _LOOK_NS

    def skip(self, now_ns: int, waited_ns: int) -> None:
        """Start the span anew: nothing was computed since the last look."""
        self._looked_ns, self._waited_ns = now_ns, waited_ns

    def look(self, now_ns: int, waited_ns: int) -> bool:
        """Decide from the time since the last look; True when `count` changed.

        Args:
            now_ns: a clock that only goes forward.
            waited_ns: time all threads of the process waited for a core so far.
        """
        span = now_ns - self._looked_ns
        share = (waited_ns - self._waited_ns) / max(span * self.count, 1)
        self.skip(now_ns, waited_ns)
        if share > _CROWDED_SHARE and self.count > 1:
            has_just_grown = now_ns - self._changed_ns < 2 * _LOOK_NS
            self._rest_ns = (
                min(2 * self._rest_ns, _LAST_REST_NS) if has_just_grown else _FIRST_REST_NS
            )
            self.count -= 1
            self._changed_ns = now_ns
            return True
        if self.count < self._most and now_ns - self._changed_ns >= self._rest_ns:
            self.count += 1
            self._changed_ns = now_ns
            return True
        return False


def waited_ns(tasks: Path = _TASKS) -> int:
    """Time the threads of this process were ready but had no core; 0 where it is not counted."""
    total = 0
    try:
        for task in tasks.iterdir():
            fields = (task / "schedstat").read_text("ascii").split()
            total += int(fields[1])
    except (OSError, IndexError, ValueError):
        # A thread that just ended takes its figure along; the next look sees a lower sum, which
        # counts as no waiting at all.
        return total
    return total
