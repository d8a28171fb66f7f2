"""/api/events: tells clients that what they show is out of date.

A record says which of the lists changed, not how: clients ask `/api/tags` or `/api/ps` again.
So a slow reader costs one flag a kind, never a growing queue.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

import msgspec

from ollama_jupyter.errors import Busy

EventKind = Literal["start", "store", "loaded"]


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the stream.

    `event` is "start" once at the beginning, then "store" (models were added, changed or
    removed) or "loaded" (a model was loaded or unloaded).
    """

    event: EventKind


class Events:
    """Hands each change to every open stream; used from the server's loop only."""

    def __init__(self) -> None:
        self._streams: set[_Stream] = set()
        self._is_closed = False

    def close(self) -> None:
        """End every open stream; those that come later, too."""
        self._is_closed = True
        for stream in self._streams:
            stream.wake()

    def publish(self, kind: EventKind) -> None:
        """Tell every open stream that this list changed."""
        for stream in self._streams:
            stream.note(kind)

    async def stream(self) -> AsyncGenerator[EventRecord, None]:
        """Records for one client, endless; closing the iterator ends the subscription.

        Raises:
            Busy: the server is shutting down.
        """
        stream = _Stream()
        self._streams.add(stream)
        try:
            yield EventRecord(event="start")
            while not self._is_closed:
                for kind in await stream.changes():
                    yield EventRecord(event=kind)
            raise Busy("the server is shutting down")
        finally:
            self._streams.discard(stream)


class _Stream:
    """The kinds that changed since one client was last told, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[EventKind, None] = {}
        self._changed = asyncio.Event()

    def note(self, kind: EventKind) -> None:
        self._pending[kind] = None
        self.wake()

    def wake(self) -> None:
        self._changed.set()

    async def changes(self) -> list[EventKind]:
        await self._changed.wait()
        self._changed.clear()
        kinds = list(self._pending)
        self._pending.clear()
        return kinds
