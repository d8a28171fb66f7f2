"""What the next decode evaluates: a fair share for every sequence that waits for tokens.

Pure planning: from how many tokens each sequence still needs to how many it gets now. Sequences
that need one token (they generate) come first, so that a long prompt never starves a running
stream; prompts share what is left, oldest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A sequence and the tokens it waits for.

    Attributes:
        key: the caller's name for it.
        tokens: how many are not evaluated yet; at least 1.
    """

    key: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Tokens of one sequence in the next decode.

    Attributes:
        key: as in Need.
        tokens: how many, from the first that is not evaluated.
        is_last: whether nothing is left after them, so that logits are wanted.
    """

    key: int
    tokens: int
    is_last: bool


def plan(needs: Sequence[Need], *, batch_size: int, prefill_chunk: int, cells: int) -> list[Share]:
    """The shares of one decode, oldest sequence first among equals.

    Args:
        needs: in the order of age.
        batch_size: tokens of one decode at most.
        prefill_chunk: prompt tokens of one decode at most while others generate.
        cells: free cells of the cache; a share takes one a token.
    """
    left = min(batch_size, cells)
    shares: list[Share] = []
    for need in needs:
        if need.tokens == 1 and left > 0:
            shares.append(Share(key=need.key, tokens=1, is_last=True))
            left -= 1
    if shares:
        left = min(left, prefill_chunk)
    for need in needs:
        if need.tokens > 1 and left > 0:
            taken = min(need.tokens, left)
            shares.append(Share(key=need.key, tokens=taken, is_last=taken == need.tokens))
            left -= taken
    return shares
