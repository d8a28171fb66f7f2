"""Blocking work in threads, under requests that may be cancelled.

A thread can't be stopped, and what it works on must not be closed under it. So a cancel waits
until the step that runs is through.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def run_to_end(function: Callable[[], T]) -> T:
    """What a blocking function gives, run in a thread; a cancel waits until it is through."""
    return await wait_out(asyncio.to_thread(function))


async def wait_out(work: Awaitable[T]) -> T:
    """What an awaitable gives; a cancel waits until it is through, and counts then."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # looked at; the cancel is what counts now
        raise
