"""Which cells of the KV cache hold which tokens, for whom: a radix tree over all sequences.

A node is a run of cells that one or more sequences hold together; the path from the root to a
sequence's last node spells its tokens. Two sequences that evaluated the same text each for itself
have two nodes with equal tokens: the tree shows the cells as they are, not as they could be.

            root
             ├── "You are a helpful"  held by 0, 1, 2
             │     ├── " poet."       held by 0
             │     └── " cook."       held by 1, 2
             │           └── " Hi"    held by 2
             └── "You are"            held by 3 (evaluated alone)

Pure bookkeeping: whoever changes the cache tells the tree, in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Node:
    tokens: list[int]
    parent: "_Node | None"
    holders: set[int]
    children: list["_Node"] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The longest prefix of some tokens found in the cache.

    Attributes:
        length: tokens of it.
        holder: a sequence that holds them all; -1 when length is 0.
    """

    length: int
    holder: int


class PrefixTree:
    """The tokens every sequence holds in the cache, and who shares them.

    Attributes:
        used_cells: cells held by any sequence.
    """

    def __init__(self) -> None:
        self._root = _Node(tokens=[], parent=None, holders=set())
        self._tails: dict[int, _Node] = {}
        self._lengths: dict[int, int] = {}
        self.used_cells = 0

    def length(self, sequence: int) -> int:
        """Tokens the sequence holds; 0 for one that is not here."""
        return self._lengths.get(sequence, 0)

    def tokens(self, sequence: int) -> list[int]:
        """The tokens the sequence holds, in order."""
        return [token for node in self._path(sequence) for token in node.tokens]

    def extend(self, sequence: int, tokens: Sequence[int]) -> None:
        """Note that the sequence was evaluated further, in cells of its own."""
        if not tokens:
            return
        tail = self._tails.get(sequence, self._root)
        if tail is self._root or tail.children or len(tail.holders) > 1:
            node = _Node(tokens=list(tokens), parent=tail, holders={sequence})
            tail.children.append(node)
            self._tails[sequence] = node
        else:
            tail.tokens.extend(tokens)
        self._lengths[sequence] = self.length(sequence) + len(tokens)
        self.used_cells += len(tokens)

    def match(self, tokens: Sequence[int]) -> Match:
        """The longest prefix of `tokens` that some sequence holds."""
        node, length = self._root, 0
        while True:
            best: _Node | None = None
            common = 0
            for child in node.children:
                here = _common_length(child.tokens, tokens, length)
                if here > common:
                    best, common = child, here
            if best is None:
                break
            node, length = best, length + common
            if common < len(best.tokens):
                break
        return Match(length=length, holder=next(iter(node.holders), -1))

    def share(self, source: int, target: int, length: int) -> None:
        """Note that `target`, which held nothing, now shares the first cells of `source`."""
        tail = self._root
        left = length
        for node in self._path(source):
            if left <= 0:
                break
            if left < len(node.tokens):
                self._split(node, left)
            node.holders.add(target)
            left -= len(node.tokens)
            tail = node
        self._tails[target] = tail
        self._lengths[target] = length

    def cut(self, sequence: int, length: int) -> None:
        """Note that the sequence forgot everything from position `length` on."""
        excess = self.length(sequence) - length
        if excess <= 0:
            return
        node = self._tails[sequence]
        while excess > 0:
            if excess < len(node.tokens):
                self._split(node, len(node.tokens) - excess)
                node = self._tails[sequence]
            parent = node.parent
            excess -= len(node.tokens)
            self._release(node, sequence)
            node = parent if parent is not None else self._root
            self._tails[sequence] = node
        self._lengths[sequence] = length
        if length == 0:
            self._tails.pop(sequence, None)
            self._lengths.pop(sequence, None)

    def is_owner(self, sequence: int) -> bool:
        """Whether no other sequence holds any of its cells."""
        return all(len(node.holders) == 1 for node in self._path(sequence))

    def sharers(self, sequence: int) -> frozenset[int]:
        """The other sequences that hold any of its cells."""
        path = self._path(sequence)
        return frozenset(path[0].holders - {sequence}) if path else frozenset()

    def is_covered(self, sequence: int) -> bool:
        """Whether another sequence holds all its cells, so that nothing is lost without it."""
        tail = self._tails.get(sequence)
        return tail is None or len(tail.holders) > 1

    def private_cells(self, sequence: int) -> int:
        """Cells that would be free without this sequence."""
        return sum(len(n.tokens) for n in self._path(sequence) if len(n.holders) == 1)

    def _path(self, sequence: int) -> list[_Node]:
        path: list[_Node] = []
        node: _Node | None = self._tails.get(sequence)
        while node is not None and node is not self._root:
            path.append(node)
            node = node.parent
        path.reverse()
        return path

    def _split(self, node: _Node, length: int) -> None:
        """Make `node` the first `length` tokens of itself; a new child holds the others."""
        rest = _Node(
            tokens=node.tokens[length:],
            parent=node,
            holders=set(node.holders),
            children=node.children,
        )
        for child in rest.children:
            child.parent = rest
        del node.tokens[length:]
        node.children = [rest]
        for sequence in rest.holders:
            if self._tails[sequence] is node:
                self._tails[sequence] = rest

    def _release(self, node: _Node, sequence: int) -> None:
        node.holders.discard(sequence)
        if not node.holders:
            self.used_cells -= len(node.tokens)
            if node.parent is not None:
                node.parent.children.remove(node)


def _common_length(run: list[int], tokens: Sequence[int], start: int) -> int:
    """How many tokens of `run` equal those of `tokens` from `start` on."""
    limit = min(len(run), len(tokens) - start)
    if run[:limit] == list(tokens[start : start + limit]):
        return limit
    for index in range(limit):
        if run[index] != tokens[start + index]:
            return index
    return limit
