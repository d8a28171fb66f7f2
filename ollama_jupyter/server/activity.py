"""Which requests are open, and since when none is: for a graceful end and for the idle exit."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Stoppable(Protocol):
    """An open request."""

    def stop(self) -> None:
        """End it soon, with an error record; more calls change nothing."""


class Activity:
    """The open requests of a server; used from its loop only.

    Attributes:
        is_ending: whether the server takes no new requests any more.
    """

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._open: set[Stoppable] = set()
        self._last_ns = monotonic_ns()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.is_ending = False

    def begin(self, request: Stoppable) -> None:
        """Count a request as open."""
        self._open.add(request)
        self._quiet.clear()

    def end(self, request: Stoppable) -> None:
        """Count it as done; a second call changes nothing."""
        if request not in self._open:
            return
        self._open.discard(request)
        self._last_ns = self._monotonic_ns()
        if not self._open:
            self._quiet.set()

    def touch(self) -> None:
        """Count this moment as used."""
        self._last_ns = self._monotonic_ns()

    @property
    def idle_ns(self) -> int:
        """Nanoseconds since the last request ended; 0 while one is open."""
        return 0 if self._open else self._monotonic_ns() - self._last_ns

    async def wait_until_quiet(self, timeout_seconds: float) -> bool:
        """Wait until no request is open; whether that came about in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def stop_all(self) -> None:
        """Stop every open request."""
        for request in tuple(self._open):
            request.stop()
