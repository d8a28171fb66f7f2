"""Sequences in one cache know nothing of each other: the real model, tokens chosen by the test.

Every answer is teacher-forced: what is drawn is given, and the logits it would have been drawn
from are kept. Two runs whose steps have the same shapes must then agree.
"""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runner.bench import Bench, Recorded, smollm2

pytestmark = pytest.mark.engine

from ollama_jupyter.runner.generation import Generation  # noqa: E402 - after the skip in bench
from ollama_jupyter.runner.llama import SamplerChain, TokenBatch  # noqa: E402

Logits = NDArray[np.float32]
LEAK = 1e-2
STREAMS = 8
ANSWER = 3
RULES = "You are a careful assistant who keeps every secret. "
WORDS = [
    *("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "iris", "jade"),
    *("river", "stone", "cloud", "paper", "music", "horse", "light", "sugar", "table", "water"),
]


class Forced(Bench):
    """An engine that draws what it is told, and remembers from what."""

    def __init__(self, **spec: int) -> None:
        super().__init__(smollm2(), num_threads=2, **spec)
        self.logits: dict[int, list[Logits]] = {}
        self.codes: set[int] = set()
        self._scripts: dict[int, list[int]] = {}
        self._owners: dict[int, int] = {}
        # How much of a prompt goes into a step follows the clock; here it must not.
        self.engine._pace = lambda *_: None  # type: ignore[method-assign]  # takes no note
        context = self.engine._context
        decode = context.decode

        def checked(batch: TokenBatch) -> int:
            code = decode(batch)
            self.codes.add(code)
            return code

        context.decode = checked  # type: ignore[method-assign]  # looks on, changes nothing
        context.sample = self._draw  # type: ignore[method-assign]  # the forcing

    def force(
        self, name: int, prompt: Sequence[int], answer: Sequence[int], **request: int
    ) -> None:
        """Start a request whose answer is given; its logits appear under `name`."""
        recorded: Recorded = self.start(prompt, num_predict=len(answer), **request)
        assert isinstance(recorded.work, Generation)
        self._owners[id(recorded.work.chain)] = name
        self._scripts[name] = list(answer)
        self.logits[name] = []

    def _draw(self, chain: SamplerChain, index: int) -> int:
        name = self._owners[id(chain)]
        self.logits[name].append(self.engine._context.logits(index).copy())
        return self._scripts[name].pop(0)

    def forget(self) -> None:
        """Leave nothing in the cache."""
        self.engine._erase(self.engine._slots.make_room(self.engine._slots.cells))
        self.logits.clear()


def _difference(left: list[Logits], right: list[Logits]) -> float:
    assert len(left) == len(right)
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))


def _run_schedule(
    bench: Forced, secrets: Sequence[str], seed: int, changed: int | None
) -> dict[int, list[Logits]]:
    """Eight requests in an order and at steps that the seed chooses.

    The one that is `changed` tells the spare secret instead of its own.
    """
    chance = random.Random(seed)
    rules = bench.tokens(RULES)
    forced = bench.tokens(" the one that you know")[:ANSWER]
    bench.forget()
    for name in chance.sample(range(STREAMS), STREAMS):
        secret = secrets[name if name != changed else STREAMS]
        tail = bench.tokens(f"My secret {name} is {secret}. Which one?")
        bench.force(name, [*rules, *tail], forced)
        for _ in range(chance.randrange(3)):
            bench.engine.step()
    bench.run()
    return dict(bench.logits)


@pytest.mark.parametrize(
    "seeds",
    [range(5), pytest.param(range(5, 50), marks=pytest.mark.soak)],
    ids=["some", "many"],
)
def test_no_answer_changes_when_the_secret_of_another_does(seeds: range) -> None:
    bench = Forced(slots=STREAMS, num_ctx=256)
    # Of one token each, so that the steps of both runs have the same shapes.
    secrets = [word for word in WORDS if len(bench.tokens(f" {word}")) == 1]
    assert len(secrets) > STREAMS
    worst = 0.0
    for seed in seeds:
        changed = seed % STREAMS
        plain = _run_schedule(bench, secrets, seed, None)
        other = _run_schedule(bench, secrets, seed, changed)
        assert _difference(plain[changed], other[changed]) > LEAK, "the secret itself matters"
        for name in range(STREAMS):
            if name != changed:
                worst = max(worst, _difference(plain[name], other[name]))
    assert worst < LEAK
    assert bench.codes == {0}


def test_a_stream_that_shifts_three_times_leaves_the_one_it_shares_with_alone() -> None:
    """The calm stream's logits do not tell whether the wild one shares with it or with another.

    Both runs have the same shapes: a third stream holds a start of the same length, and where the
    wild one shares that instead, it can no more shift its cells in place than where it shares the
    calm one's.
    """
    bench = Forced(slots=3, num_ctx=2048)
    river = bench.tokens("Every river finds its way to the sea, so will this. " * 90)[:1000]
    forest = bench.tokens("The old forest keeps its silence under the snow. " * 110)[:1000]
    calm_answer = bench.tokens(" and then there was the quiet water of the bay" * 12)[:90]
    wild_answer = bench.tokens(" while the storm went on over the open hills" * 12)[:90]
    tail = bench.tokens(" Wild:")
    shifts: list[Generation] = []
    shift = bench.engine._shift

    def counted(generation: Generation) -> None:
        shifts.append(generation)
        shift(generation)

    bench.engine._shift = counted  # type: ignore[method-assign]  # counts

    def run(wild_start: Sequence[int]) -> list[Logits]:
        bench.forget()
        shifts.clear()
        bench.force(2, forest, bench.tokens(" and nothing moves at all here" * 40)[:120])
        _step_until(bench, 2)
        bench.force(0, [*river, *bench.tokens(" Calm:")], calm_answer)
        _step_until(bench, 0)
        room = len(river) + 44
        bench.force(1, [*wild_start, *tail], wild_answer, num_ctx=room, num_keep=len(river))
        bench.run()
        assert len(shifts) >= 3
        return bench.logits[0]

    undisturbed = run(forest)
    disturbed = run(river)
    assert bench.codes == {0}
    assert len(disturbed) == len(calm_answer)
    assert _difference(undisturbed, disturbed) < LEAK


def _step_until(bench: Forced, name: int) -> None:
    """Step until the named stream draws its first token."""
    while not bench.logits[name]:
        assert bench.engine.step()
