"""Sequences: shared, kept, forgotten."""

import pytest

from ollama_jupyter.runner.slots import Seat, Slots

PROMPT = list(range(100))


def _slots(
    *, sequences: int = 4, cells: int = 1000, idle_tokens: int = 1000, is_sharing: bool = True
) -> Slots:
    return Slots(sequences=sequences, cells=cells, idle_tokens=idle_tokens, is_sharing=is_sharing)


def _run(slots: Slots, tokens: list[int]) -> Seat:
    """Take a sequence and evaluate everything."""
    seat = slots.take(tokens)
    slots.tree.extend(seat.sequence, tokens[seat.cached :])
    return seat


def test_take_shares_what_a_running_sequence_holds() -> None:
    slots = _slots()
    first = _run(slots, PROMPT)
    second = slots.take([*PROMPT, 500])

    assert (second.source, second.cached) == (first.sequence, 100)
    assert second.sequence != first.sequence


def test_take_leaves_one_token_to_evaluate() -> None:
    slots = _slots()
    _run(slots, PROMPT)

    assert slots.take(PROMPT).cached == 99


def test_take_shares_what_an_idle_sequence_holds() -> None:
    slots = _slots()
    first = _run(slots, PROMPT)
    assert slots.give_back(first.sequence) == ()

    assert slots.take([*PROMPT[:50], 500]).cached == 50


def test_take_evaluates_a_short_common_start_again() -> None:
    slots = _slots()
    _run(slots, PROMPT)

    assert slots.take([*PROMPT[:7], 500]).cached == 0
    assert slots.take([*PROMPT[:32], 500]).cached == 32


def test_make_owner_forgets_idle_sharers_and_leaves_running_ones() -> None:
    slots = _slots()
    idle = _run(slots, PROMPT)
    running = _run(slots, [*PROMPT[:50], 500])
    shifting = _run(slots, [*PROMPT[:40], 600])
    slots.give_back(idle.sequence)

    assert slots.make_owner(shifting.sequence) == (idle.sequence,)
    assert not slots.tree.is_owner(shifting.sequence)
    assert slots.tree.length(running.sequence) == 51


def test_take_shares_nothing_when_sharing_is_off() -> None:
    slots = _slots(is_sharing=False)
    first = _run(slots, PROMPT)

    assert slots.take(PROMPT).cached == 0
    assert slots.give_back(first.sequence) == (first.sequence,)
    assert slots.idle == ()


def test_take_forgets_the_longest_unused_prefix_when_no_number_is_free() -> None:
    slots = _slots(sequences=2)
    first = _run(slots, [1, 2, 3])
    second = _run(slots, [4, 5, 6])
    slots.give_back(first.sequence)
    slots.give_back(second.sequence)

    seat = slots.take([7, 8, 9])

    assert seat.forgotten == (first.sequence,)
    assert slots.idle == (second.sequence,)


def test_take_counts_a_shared_prefix_as_used() -> None:
    slots = _slots(sequences=3)
    first = _run(slots, PROMPT)
    second = _run(slots, [4, 5, 6])
    slots.give_back(first.sequence)
    slots.give_back(second.sequence)
    _run(slots, [*PROMPT[:40], 900])

    assert slots.take([7, 8]).forgotten == (second.sequence,)


def test_take_takes_over_the_only_idle_sequence_when_it_is_the_one_wanted() -> None:
    slots = _slots(sequences=1)
    first = _run(slots, PROMPT)
    slots.give_back(first.sequence)

    seat = slots.take([*PROMPT[:60], 500])

    assert seat == Seat(sequence=first.sequence, forgotten=(), source=first.sequence, cached=60)
    assert slots.tree.tokens(seat.sequence) == PROMPT[:60]


def test_take_refuses_when_every_sequence_runs() -> None:
    slots = _slots(sequences=1)
    _run(slots, PROMPT)

    with pytest.raises(LookupError):
        slots.take(PROMPT)


def test_give_back_drops_a_kept_prefix_that_the_new_one_covers() -> None:
    slots = _slots()
    first = _run(slots, PROMPT)
    slots.give_back(first.sequence)
    second = _run(slots, [*PROMPT, 500, 501])

    assert slots.give_back(second.sequence) == (first.sequence,)
    assert slots.idle == (second.sequence,)
    assert slots.tree.used_cells == 102


def test_give_back_keeps_nothing_of_a_sequence_that_another_covers() -> None:
    slots = _slots()
    first = _run(slots, PROMPT)
    second = slots.take([*PROMPT, 500])

    assert slots.give_back(second.sequence) == (second.sequence,)
    assert slots.tree.tokens(first.sequence) == PROMPT


def test_make_room_forgets_idle_sequences_oldest_first_and_no_more_than_needed() -> None:
    slots = _slots(sequences=6, cells=300)
    seats = [_run(slots, [start, *range(1000, 1099)]) for start in range(3)]
    for seat in seats:
        slots.give_back(seat.sequence)

    assert slots.free_cells == 0
    assert slots.make_room(150) == (seats[0].sequence, seats[1].sequence)
    assert slots.free_cells == 200


def test_make_room_never_touches_running_sequences() -> None:
    slots = _slots(cells=100)
    seat = _run(slots, PROMPT)

    assert slots.make_room(1) == ()
    assert slots.tree.length(seat.sequence) == 100


def test_worth_waiting_while_the_same_start_is_being_evaluated() -> None:
    slots = _slots()
    running = slots.take(PROMPT)
    slots.tree.extend(running.sequence, PROMPT[:20])

    assert slots.worth_waiting([*PROMPT, 7], [(PROMPT, 20)])


@pytest.mark.parametrize(
    ("tokens", "evaluated", "is_sharing"),
    [
        ([*PROMPT[:30], 7], 0, True),  # the common start is short
        ([*PROMPT, 7], 100, True),  # it is evaluated already
        ([*PROMPT[:50], 7], 50, True),  # the part of it that counts is
        ([7, *PROMPT], 0, True),  # there is no common start
        ([*PROMPT, 7], 0, False),  # nothing is shared
    ],
)
def test_worth_waiting_only_for_a_long_start(
    tokens: list[int], evaluated: int, is_sharing: bool
) -> None:
    slots = _slots(is_sharing=is_sharing)
    running = slots.take(PROMPT)
    slots.tree.extend(running.sequence, PROMPT[:evaluated])

    assert not slots.worth_waiting(tokens, [(PROMPT, evaluated)])


def test_idle_sequences_hold_no_more_than_they_may() -> None:
    slots = _slots(idle_tokens=250)
    seats = [_run(slots, [n * 1000 + t for t in range(100)]) for n in range(3)]
    assert slots.give_back(seats[0].sequence) == ()
    assert slots.give_back(seats[1].sequence) == ()
    assert slots.give_back(seats[2].sequence) == (seats[0].sequence,)
    assert slots.idle == (seats[1].sequence, seats[2].sequence)


def test_the_last_idle_sequence_stays_however_long_it_is() -> None:
    slots = _slots(idle_tokens=10)
    seat = _run(slots, PROMPT)
    assert slots.give_back(seat.sequence) == ()
    assert slots.idle == (seat.sequence,)
