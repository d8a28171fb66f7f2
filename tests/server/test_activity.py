"""Which requests are open, and since when none is."""

import asyncio

from ollama_jupyter.server.activity import Activity


class _Request:
    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


class _Hand:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


async def test_activity_is_idle_since_the_last_request_ended() -> None:
    hand = _Hand()
    activity = Activity(hand)
    hand.ns = 5
    assert activity.idle_ns == 5
    request = _Request()
    activity.begin(request)
    hand.ns = 10
    assert activity.idle_ns == 0
    activity.end(request)
    hand.ns = 17
    activity.end(request)
    assert activity.idle_ns == 7


async def test_touch_counts_as_use() -> None:
    hand = _Hand()
    activity = Activity(hand)
    hand.ns = 5
    activity.touch()
    assert activity.idle_ns == 0


async def test_wait_until_quiet_ends_with_the_last_request() -> None:
    activity = Activity(_Hand())
    first, second = _Request(), _Request()
    activity.begin(first)
    activity.begin(second)
    waiting = asyncio.create_task(activity.wait_until_quiet(5))
    await asyncio.sleep(0)
    activity.end(first)
    await asyncio.sleep(0)
    assert not waiting.done()
    activity.end(second)
    assert await waiting is True


async def test_wait_until_quiet_gives_up() -> None:
    activity = Activity(_Hand())
    activity.begin(_Request())
    assert await activity.wait_until_quiet(0.001) is False


async def test_stop_all_stops_the_open_ones() -> None:
    activity = Activity(_Hand())
    ended, still = _Request(), _Request()
    activity.begin(ended)
    activity.begin(still)
    activity.end(ended)
    activity.stop_all()
    assert (ended.stops, still.stops) == (0, 1)
