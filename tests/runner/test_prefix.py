"""The radix tree over what sequences hold, checked against a plain model of cells."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_jupyter.runner.prefix import Match, PrefixTree


def test_match_finds_the_longest_common_start() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3, 4])
    tree.extend(1, [1, 2, 9])

    assert tree.match([1, 2, 3, 7]) == Match(length=3, holder=0)
    assert tree.match([1, 2, 9, 9]) == Match(length=3, holder=1)
    assert tree.match([5]) == Match(length=0, holder=-1)
    assert tree.match([]) == Match(length=0, holder=-1)


def test_share_uses_no_cells_until_the_sequences_part() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3, 4])
    tree.share(0, 1, 3)

    assert tree.used_cells == 4
    tree.extend(1, [8])
    assert tree.used_cells == 5
    assert tree.tokens(0) == [1, 2, 3, 4]
    assert tree.tokens(1) == [1, 2, 3, 8]


def test_is_owner_only_while_nobody_shares() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3])
    assert tree.is_owner(0)

    tree.share(0, 1, 2)
    assert not tree.is_owner(0)
    assert not tree.is_owner(1)

    tree.cut(1, 0)
    assert tree.is_owner(0)


def test_sharers_are_those_with_a_common_start() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3])
    tree.share(0, 1, 2)
    tree.share(0, 2, 1)
    tree.extend(3, [1, 2, 3])

    assert tree.sharers(0) == {1, 2}
    assert tree.sharers(2) == {0, 1}
    assert tree.sharers(3) == frozenset()
    assert tree.sharers(9) == frozenset()


def test_extend_after_share_grows_the_source_on_its_own() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2])
    tree.share(0, 1, 2)
    tree.extend(0, [3])
    tree.extend(1, [4])

    assert tree.tokens(0) == [1, 2, 3]
    assert tree.tokens(1) == [1, 2, 4]
    assert tree.private_cells(0) == 1


def test_cut_frees_only_cells_nobody_else_holds() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3, 4])
    tree.share(0, 1, 4)
    tree.extend(1, [5, 6])
    tree.cut(1, 3)

    assert tree.used_cells == 4
    assert tree.tokens(1) == [1, 2, 3]
    tree.cut(0, 0)
    assert tree.used_cells == 3
    assert tree.length(0) == 0


def test_cut_beyond_the_end_changes_nothing() -> None:
    tree = PrefixTree()
    tree.extend(0, [1])
    tree.cut(0, 5)
    tree.cut(7, 0)

    assert tree.tokens(0) == [1]


def test_is_covered_when_another_sequence_holds_everything() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2])
    tree.share(0, 1, 2)
    tree.extend(1, [3])

    assert tree.is_covered(0)
    assert not tree.is_covered(1)


def test_equal_tokens_evaluated_twice_stay_two_runs_of_cells() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2])
    tree.extend(1, [1, 2, 3])

    assert tree.used_cells == 5
    assert tree.is_owner(0)
    assert tree.match([1, 2, 3]).holder == 1


@dataclass
class _Cells:
    """What a KV cache does, cell by cell: who holds it and which token it is."""

    holders: list[set[int]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    by_sequence: dict[int, list[int]] = field(default_factory=dict)

    def extend(self, sequence: int, tokens: list[int]) -> None:
        for token in tokens:
            self.by_sequence.setdefault(sequence, []).append(len(self.tokens))
            self.holders.append({sequence})
            self.tokens.append(token)

    def share(self, source: int, target: int, length: int) -> None:
        self.by_sequence[target] = self.by_sequence.get(source, [])[:length]
        for cell in self.by_sequence[target]:
            self.holders[cell].add(target)

    def cut(self, sequence: int, length: int) -> None:
        cells = self.by_sequence.get(sequence, [])
        for cell in cells[length:]:
            self.holders[cell].discard(sequence)
        del cells[length:]

    def used(self) -> int:
        return sum(bool(held) for held in self.holders)

    def text(self, sequence: int) -> list[int]:
        return [self.tokens[cell] for cell in self.by_sequence.get(sequence, [])]

    def is_owner(self, sequence: int) -> bool:
        return all(len(self.holders[cell]) == 1 for cell in self.by_sequence.get(sequence, []))


_SEQUENCES = st.integers(0, 4)
_ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("extend"), _SEQUENCES, st.lists(st.integers(0, 2), min_size=1, max_size=5)
        ),
        st.tuples(st.just("cut"), _SEQUENCES, st.integers(0, 8)),
        st.tuples(st.just("share"), _SEQUENCES, st.lists(st.integers(0, 2), max_size=8)),
    ),
    max_size=30,
)


@given(actions=_ACTIONS)
@settings(max_examples=300)
def test_tree_agrees_with_cells(actions: list[tuple[str, int, int | list[int]]]) -> None:
    tree, cells = PrefixTree(), _Cells()
    for name, sequence, value in actions:
        if name == "extend" and isinstance(value, list):
            tree.extend(sequence, value)
            cells.extend(sequence, value)
        elif name == "cut" and isinstance(value, int):
            tree.cut(sequence, value)
            cells.cut(sequence, value)
        elif name == "share" and isinstance(value, list):
            tree.cut(sequence, 0)
            cells.cut(sequence, 0)
            match = tree.match(value)
            if match.length:
                assert cells.text(match.holder)[: match.length] == value[: match.length]
                tree.share(match.holder, sequence, match.length)
                cells.share(match.holder, sequence, match.length)
        assert tree.used_cells == cells.used()
        for number in range(5):
            assert tree.tokens(number) == cells.text(number)
            assert tree.length(number) == len(cells.text(number))
            assert tree.is_owner(number) == cells.is_owner(number)
