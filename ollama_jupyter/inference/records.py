"""The records of one reply, from the wait for a runner to the last figure.

What chat and generate have in common; how a piece looks on the wire is theirs to say.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

import msgspec

from ollama_jupyter.api.options import Options
from ollama_jupyter.api.types import (
    ChatChunk,
    ChatRequest,
    GenerateChunk,
    GenerateRequest,
    ProgressChunk,
)
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.inference.completion import Outcome, Piece, metrics, truncated
from ollama_jupyter.inference.rooms import Clock, Rooms
from ollama_jupyter.inference.waiting import Progress, wait_for_runner
from ollama_jupyter.quantities import keep_alive_from_json
from ollama_jupyter.scheduler.scheduler import Lease

ChunkType = TypeVar("ChunkType", ChatChunk, GenerateChunk)


class Records(ABC, Generic[ChunkType]):
    """Makes the records of one reply, and keeps the times that its figures need."""

    def __init__(self, clock: Clock, model: str) -> None:
        """Begin when the request arrives.

        Args:
            clock: for the times.
            model: the name as the request spells it.
        """
        self.clock = clock
        self.model = model
        self._started_ns = clock.monotonic_ns()
        self._ready_ns = self._started_ns

    @abstractmethod
    def chunk(self, piece: Piece, *, done: bool, done_reason: str = "") -> ChunkType:
        """A piece as this kind of reply has it."""

    def note_ready(self) -> None:
        """Note that a runner is there."""
        self._ready_ns = self.clock.monotonic_ns()

    def progress(self, progress: Progress) -> ProgressChunk:
        """What is waited for."""
        return progress.chunk(self.model, self.clock.timestamp())

    def single(self, done_reason: str) -> ChunkType:
        """The only record of a request that asked for no answer."""
        return self.chunk(Piece(), done=True, done_reason=done_reason)

    def piece(self, piece: Piece) -> ChunkType:
        """A piece of the answer."""
        return self.chunk(piece, done=False)

    def last(self, outcome: Outcome, *, dropped: int) -> ChunkType:
        """The record that ends the reply, with its figures.

        Args:
            outcome: how the completion ended.
            dropped: messages that were left out of the prompt.
        """
        figures = metrics(
            outcome,
            started_ns=self._started_ns,
            ready_ns=self._ready_ns,
            ended_ns=self.clock.monotonic_ns(),
        )
        return msgspec.structs.replace(
            self.chunk(Piece(), done=True, done_reason=outcome.stop_reason),
            truncated=truncated(dropped, outcome.truncated_tokens),
            **msgspec.structs.asdict(figures),
        )


async def with_runner(
    rooms: Rooms,
    model: Model,
    request: ChatRequest | GenerateRequest,
    options: Options,
    records: Records[ChunkType],
    reply: Callable[[Lease], AsyncGenerator[ChunkType | ProgressChunk, None]] | None,
) -> AsyncGenerator[ChunkType | ProgressChunk, None]:
    """Progress while a runner is waited for, then the reply it gives.

    Args:
        rooms: the scheduler that grants it.
        model: whose runner.
        request: says how long it stays, and whether progress is wanted.
        options: what the runner must have.
        records: of this reply.
        reply: its records once the runner is there; None when it was only to be loaded.
    """
    waiting = wait_for_runner(
        rooms.scheduler,
        model,
        options=options.runner(),
        keep_alive_ns=keep_alive_from_json(request.keep_alive),
        shift=request.shift,
        wants_progress=request.progress,
    )
    async with waiting, aclosing(waiting.progress()) as reports:
        async for report in reports:
            yield records.progress(report)
        records.note_ready()
        if reply is None:
            yield records.single("load")
            return
        async with aclosing(reply(waiting.lease)) as answer:
            async for record in answer:
                yield record
