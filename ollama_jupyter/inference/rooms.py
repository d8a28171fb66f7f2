"""What answering a request takes: the rooms below, and the two clocks."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ollama_jupyter.api.native import timestamp
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.config import Config
from ollama_jupyter.errors import Forbidden, NotFound
from ollama_jupyter.names import ModelRef
from ollama_jupyter.scheduler.scheduler import Scheduler

# How the catalog says that a model is known, but not all of it is here.
_INCOMPLETE: Final = "try pulling it first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The two clocks, both in nanoseconds: one that tells the date, one that never jumps."""

    wall_ns: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.monotonic_ns

    def timestamp(self) -> str:
        """Now, as `created_at` has it."""
        return timestamp(self.wall_ns())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Handed to every function of this room; holds no state of a request."""

    catalog: Catalog
    scheduler: Scheduler
    config: Config
    clock: Clock = field(default_factory=Clock)


async def resolve(rooms: Rooms, text: str, *, missing: str) -> Model:
    """The installed model that a request's text names.

    Args:
        rooms: where to look.
        text: as sent.
        missing: what to say when it is not installed.

    Raises:
        BadRequest: the text is no name, or names two sources.
        NotFound: no such model is installed, or a file of it is missing.
        Forbidden: it names a model in the cloud.
    """
    reference = ModelRef.parse(text)
    reference.model_name()
    if reference.source == "cloud":
        raise Forbidden("ollama cloud is disabled: remote model is unavailable")
    try:
        return await asyncio.to_thread(rooms.catalog.resolve, reference.base)
    except NotFound as error:
        if _INCOMPLETE in str(error):
            raise
        raise NotFound(missing) from error
