"""Plans of one decode."""

from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.runner.batch import Need, Share, plan


def _needs(*tokens: int) -> list[Need]:
    return [Need(key=key, tokens=count) for key, count in enumerate(tokens)]


def test_plan_gives_a_lone_prompt_the_whole_batch() -> None:
    shares = plan(_needs(700), batch_size=512, prefill_chunk=256, cells=4096)

    assert shares == [Share(key=0, tokens=512, is_last=False)]


def test_plan_wants_logits_when_a_prompt_is_evaluated_to_its_end() -> None:
    shares = plan(_needs(188), batch_size=512, prefill_chunk=256, cells=4096)

    assert shares == [Share(key=0, tokens=188, is_last=True)]


def test_plan_lets_running_sequences_go_first() -> None:
    shares = plan(_needs(700, 1, 1), batch_size=512, prefill_chunk=256, cells=4096)

    assert [share.key for share in shares] == [1, 2, 0]
    assert [share.tokens for share in shares] == [1, 1, 256]


def test_plan_bounds_all_prompts_together_while_others_generate() -> None:
    shares = plan(_needs(200, 200, 1), batch_size=512, prefill_chunk=256, cells=4096)

    assert [(s.key, s.tokens, s.is_last) for s in shares] == [
        (2, 1, True),
        (0, 200, True),
        (1, 56, False),
    ]


def test_plan_gives_prompts_the_oldest_first_when_nobody_generates() -> None:
    shares = plan(_needs(300, 300), batch_size=512, prefill_chunk=256, cells=4096)

    assert [(share.key, share.tokens) for share in shares] == [(0, 300), (1, 212)]


def test_plan_takes_no_more_than_the_free_cells() -> None:
    shares = plan(_needs(1, 1, 50), batch_size=512, prefill_chunk=256, cells=11)

    assert [(share.key, share.tokens) for share in shares] == [(0, 1), (1, 1), (2, 9)]


def test_plan_is_empty_when_no_cell_is_free() -> None:
    assert plan(_needs(1, 5), batch_size=512, prefill_chunk=256, cells=0) == []


@given(
    tokens=st.lists(st.integers(1, 2000), min_size=1, max_size=20),
    batch_size=st.integers(1, 600),
    prefill_chunk=st.integers(1, 600),
    cells=st.integers(0, 4000),
)
def test_plan_keeps_its_limits(
    tokens: list[int], batch_size: int, prefill_chunk: int, cells: int
) -> None:
    shares = plan(_needs(*tokens), batch_size=batch_size, prefill_chunk=prefill_chunk, cells=cells)

    assert sum(share.tokens for share in shares) <= min(batch_size, cells)
    assert len({share.key for share in shares}) == len(shares)
    for share in shares:
        assert 1 <= share.tokens <= tokens[share.key]
        assert share.is_last == (share.tokens == tokens[share.key])
    if cells and batch_size:
        assert shares, "a step that does nothing would be repeated for ever"
