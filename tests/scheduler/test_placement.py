"""Estimates, slots and contexts, and which runner can serve which request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.scheduler.placement import (
    Placement,
    Policy,
    can_serve,
    choose,
    placements,
    smallest_bytes,
)
from tests.scheduler.shapes import GIB, MIB, FakeShape, want_for


def chosen(room_bytes: int = 64 * GIB, policy: Policy | None = None, **want: object) -> Placement:
    placement = choose(want_for(**want), policy or Policy(), room_bytes)  # type: ignore[arg-type]  # passed on
    assert placement is not None
    return placement


def test_choose_gives_eight_slots_of_4096_when_there_is_plenty() -> None:
    placement = chosen()
    assert (placement.slots, placement.num_ctx, placement.num_batch) == (8, 4096, 512)
    # weights, process, 32768 cells of 1 KiB, and a batch of rows
    assert placement.size_bytes == 100 * MIB + 128 * MIB + 32 * MIB + 512 * (16 * 512 + 1000) * 4


@pytest.mark.parametrize(("room_mib", "slots"), [(5000, 8), (355, 4), (300, 4), (280, 2), (255, 1)])
def test_choose_spends_a_quarter_of_the_rest_on_cells_when_slots_are_automatic(
    room_mib: int, slots: int
) -> None:
    shape = FakeShape(embedding_length=16, vocab_size=16)
    assert chosen(room_mib * MIB, shape=shape).slots == slots


def test_choose_bounds_the_cells_when_the_context_is_large() -> None:
    shape = FakeShape(context_length=131072)
    assert chosen(shape=shape, options=RunnerOptions(num_ctx=32768)).slots == 2
    assert chosen(shape=shape, options=RunnerOptions(num_ctx=131072)).slots == 1


@pytest.mark.parametrize(
    ("asked", "trained", "projectors", "num_ctx"),
    [
        (0, 8192, (), 4096),
        (0, 2048, (), 2048),
        (0, 0, (), 4096),
        (1, 8192, (), 4),
        (100, 8192, (), 100),
        (100, 8192, ("p",), 2048),
        (100000, 8192, (), 8192),
        (100000, 0, (), 100000),
    ],
)
def test_choose_bounds_num_ctx_when_asked(
    asked: int, trained: int, projectors: tuple[str, ...], num_ctx: int
) -> None:
    placement = chosen(
        shape=FakeShape(context_length=trained),
        options=RunnerOptions(num_ctx=asked),
        projectors=projectors,
    )
    assert placement.num_ctx == num_ctx


def test_choose_takes_the_operators_context_when_the_request_has_none() -> None:
    assert chosen(policy=Policy(context_length=6000)).num_ctx == 6000
    assert chosen(policy=Policy(context_length=60000)).num_ctx == 8192
    explicit = RunnerOptions(num_ctx=100)
    assert chosen(policy=Policy(context_length=6000), options=explicit).num_ctx == 100


def test_choose_raises_an_automatic_context_when_there_are_pictures() -> None:
    assert chosen(policy=Policy(context_length=100), projectors=("p",)).num_ctx == 2048


def test_choose_keeps_the_operators_slots_when_set() -> None:
    assert chosen(policy=Policy(num_parallel=3)).slots == 3
    options = RunnerOptions(num_ctx=4096)
    assert choose(want_for(options=options), Policy(num_parallel=400), GIB) is None


def test_choose_gives_one_slot_when_the_family_cannot_share() -> None:
    assert chosen(shape=FakeShape(architecture="lfm2")).slots == 1
    assert chosen(shape=FakeShape(architecture="lfm2"), policy=Policy(num_parallel=4)).slots == 1


def test_choose_counts_no_cells_and_reads_whole_inputs_when_it_is_an_encoder() -> None:
    placement = chosen(shape=FakeShape(is_encoder=True, context_length=512))
    assert (placement.slots, placement.num_ctx, placement.num_batch) == (8, 512, 512)
    assert placement.size_bytes == 228 * MIB + 512 * 16 * 512 * 4


def test_choose_lowers_an_automatic_context_when_memory_is_short() -> None:
    shape = FakeShape(cell_bytes=MIB, weights_bytes=0)
    placement = chosen(2 * GIB, shape=shape)
    assert (placement.slots, placement.num_ctx) == (1, 1024)
    explicit = want_for(shape=shape, options=RunnerOptions(num_ctx=4096))
    assert choose(explicit, Policy(), 2 * GIB) is None


def test_choose_gives_nothing_when_the_weights_do_not_fit() -> None:
    assert choose(want_for(shape=FakeShape(weights_bytes=3 * GIB)), Policy(), 3 * GIB) is None


def test_choose_fits_more_when_cells_are_quantized() -> None:
    shape = FakeShape(cell_bytes=256 * 1024)
    full = chosen(8 * GIB, shape=shape)
    small = chosen(8 * GIB, policy=Policy(kv_cache_type="q8_0"), shape=shape)
    assert small.slots == 2 * full.slots


@given(
    room=st.integers(0, 32 * GIB),
    weights=st.integers(0, 16 * GIB),
    cell=st.integers(0, MIB),
    trained=st.integers(0, 200_000),
    num_ctx=st.integers(0, 200_000),
    parallel=st.integers(0, 16),
)
def test_choose_never_exceeds_the_room_and_agrees_with_the_smallest(
    room: int, weights: int, cell: int, trained: int, num_ctx: int, parallel: int
) -> None:
    shape = FakeShape(weights_bytes=weights, cell_bytes=cell, context_length=trained)
    want = want_for(shape=shape, options=RunnerOptions(num_ctx=num_ctx))
    policy = Policy(num_parallel=parallel)
    placement = choose(want, policy, room)
    if placement is None:
        assert room < smallest_bytes(want, policy)
    else:
        assert smallest_bytes(want, policy) <= placement.size_bytes <= room
        assert placement.slots >= 1
        assert not trained or placement.num_ctx <= trained
        assert placement.num_batch >= 1


LOADED = RunnerOptions(num_ctx=2048, num_batch=256, num_gpu=5, main_gpu=1, num_thread=2)


@pytest.mark.parametrize(
    ("asked", "is_served"),
    [
        ({}, True),
        ({"num_ctx": 0}, True),
        ({"num_ctx": 1000}, True),
        ({"num_ctx": 2049}, False),
        ({"num_batch": 512}, True),
        ({"num_batch": 128}, False),
        ({"num_gpu": -1}, True),
        ({"num_gpu": 6}, False),
        ({"main_gpu": None}, False),
        ({"main_gpu": 0}, False),
        ({"use_mmap": True}, False),
        ({"num_thread": 0}, False),
        ({"num_thread": 3}, False),
    ],
)
def test_can_serve_follows_the_options_a_runner_is_made_of(
    asked: dict[str, int | None], is_served: bool
) -> None:
    options = {"num_ctx": 2048, "num_batch": 256, "num_gpu": 5, "main_gpu": 1, "num_thread": 2}
    loaded = want_for(options=LOADED)
    want = want_for(options=RunnerOptions(**{**options, **asked}))  # type: ignore[arg-type]  # of a table
    placement = chosen(options=LOADED)
    assert can_serve(loaded, placement, want) is is_served


def test_can_serve_needs_equal_adapters_and_projectors() -> None:
    loaded = want_for(adapters=("x",))
    placement = next(iter(placements(loaded, Policy(), GIB)))
    assert can_serve(loaded, placement, want_for(adapters=("x",)))
    assert not can_serve(loaded, placement, want_for())
    assert not can_serve(loaded, placement, want_for(adapters=("x",), projectors=("p",)))


def test_can_serve_clamps_to_the_trained_context_when_more_is_asked() -> None:
    shape = FakeShape(context_length=2048)
    loaded = want_for(shape=shape)
    placement = chosen(shape=shape)
    want = want_for(shape=shape, options=RunnerOptions(num_ctx=100_000))
    assert can_serve(loaded, placement, want)
