"""Who sits where in the KV cache: sequence numbers, kept prefixes, and cells that run out.

A sequence runs for a request, or lies idle as a cache of what it evaluated, or is free. Idle ones
are forgotten, the longest unused first, when a number or cells are needed. A new sequence shares
the longest prefix that any other holds.

Pure: every change of the cache is returned, for the engine to carry out in that order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ollama_jupyter.runner.prefix import PrefixTree

# A shorter common start is evaluated again: sharing it would tie the cells of sequences together
# that have but the first words of a template in common.
_WORTH_SHARING_TOKENS = 8
# Waiting until another request has evaluated a common start costs a step.
_WORTH_WAITING_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A sequence given to a request.

    Attributes:
        sequence: its number.
        forgotten: sequences to erase from the cache first.
        source: the sequence whose cells it shares; -1 when it shares none.
        cached: how many cells it shares.
    """

    sequence: int
    forgotten: tuple[int, ...]
    source: int
    cached: int


class Slots:
    """Sequences of one context.

    Attributes:
        tree: what each sequence holds.
        cells: tokens that all sequences may hold together.
    """

    def __init__(self, *, sequences: int, cells: int, idle_tokens: int, is_sharing: bool) -> None:
        """Start empty.

        Args:
            sequences: numbers there are; more than run at once leaves some for kept prefixes.
            cells: size of the cache in tokens.
            idle_tokens: what idle sequences may hold together. Attention passes over their cells
                too: 3,000 of them cost a small model a fifth of its speed.
            is_sharing: whether prefixes are kept and shared at all.
        """
        self.tree = PrefixTree()
        self.cells = cells
        self._free = list(range(sequences - 1, -1, -1))
        self._idle: dict[int, None] = {}
        self._idle_tokens = idle_tokens
        self._is_sharing = is_sharing

    @property
    def free_cells(self) -> int:
        """Cells nobody holds."""
        return self.cells - self.tree.used_cells

    @property
    def idle(self) -> tuple[int, ...]:
        """Sequences kept as cache, the longest unused first."""
        return tuple(self._idle)

    def take(self, tokens: Sequence[int]) -> Seat:
        """A sequence for a request that will evaluate `tokens`.

        At least one token is left to evaluate, since only that gives logits.

        Raises:
            LookupError: every sequence runs; the engine admits no more than there are.
        """
        source, cached = -1, 0
        if self._is_sharing:
            match = self.tree.match(tokens[:-1])
            if match.length >= _WORTH_SHARING_TOKENS:
                source, cached = match.holder, match.length
        if source in self._idle:
            self._touch(source)
        forgotten: list[int] = []
        if not self._free:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                raise LookupError("no sequence is free")
            if oldest == source:
                # The only idle one is the one wanted: it is taken over, not copied.
                del self._idle[oldest]
                self.tree.cut(oldest, cached)
                return Seat(sequence=oldest, forgotten=(), source=oldest, cached=cached)
            self._forget(oldest)
            forgotten.append(oldest)
        sequence = self._free.pop()
        if cached:
            self.tree.share(source, sequence, cached)
        return Seat(sequence=sequence, forgotten=tuple(forgotten), source=source, cached=cached)

    def give_back(self, sequence: int) -> tuple[int, ...]:
        """End the run of a sequence; gives the sequences to erase from the cache.

        It stays as cache when prefixes are kept. Another one that is a prefix of it, or of which
        it is a prefix, is not needed beside it.
        """
        if not self._is_sharing or not self.tree.length(sequence):
            self._forget(sequence)
            return (sequence,)
        if self.tree.is_covered(sequence):
            self._forget(sequence)
            return (sequence,)
        self._idle[sequence] = None
        covered = [other for other in self._idle if self.tree.is_covered(other)]
        for other in covered:
            self._forget(other)
        return (*covered, *self._limit_idle())

    def _limit_idle(self) -> list[int]:
        """Forget the longest unused while idle ones hold too much; the last one always stays."""
        forgotten: list[int] = []
        held = sum(map(self.tree.length, self._idle))
        while held > self._idle_tokens and len(self._idle) > 1:
            oldest = next(iter(self._idle))
            held -= self.tree.length(oldest)
            self._forget(oldest)
            forgotten.append(oldest)
        return forgotten

    def make_room(self, cells: int) -> tuple[int, ...]:
        """Forget idle sequences until so many cells are free, or none is left to forget."""
        forgotten: list[int] = []
        while self.free_cells < cells and self._idle:
            oldest = next(iter(self._idle))
            self._forget(oldest)
            forgotten.append(oldest)
        return tuple(forgotten)

    def make_owner(self, sequence: int) -> tuple[int, ...]:
        """Forget the idle sequences that hold cells of this one; running ones may still do."""
        sharing = tuple(other for other in self._idle if other in self.tree.sharers(sequence))
        for other in sharing:
            self._forget(other)
        return sharing

    def worth_waiting(
        self, tokens: Sequence[int], running: Iterable[tuple[Sequence[int], int]]
    ) -> bool:
        """Whether a running prompt is about to evaluate a long start of `tokens`.

        Args:
            tokens: what the waiting request would evaluate.
            running: for each running sequence its tokens, and how many are evaluated.
        """
        if not self._is_sharing:
            return False
        usable = len(tokens) - 1
        known = self.tree.match(tokens[:-1]).length
        for others, evaluated in running:
            if evaluated >= min(len(others), usable):
                continue
            common = min(_common_start(tokens, others), usable)
            if common > max(evaluated, known) + _WORTH_WAITING_TOKENS:
                return True
        return False

    def _touch(self, sequence: int) -> None:
        del self._idle[sequence]
        self._idle[sequence] = None

    def _forget(self, sequence: int) -> None:
        self.tree.cut(sequence, 0)
        self._idle.pop(sequence, None)
        self._free.append(sequence)


def _common_start(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
