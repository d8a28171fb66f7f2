import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.inference.output.thinking import ThinkingParser, overlap


def feed(parser: ThinkingParser, *chunks: str) -> tuple[str, str]:
    """All thinking and all content of the chunks."""
    pieces = [parser.feed(chunk) for chunk in chunks]
    return "".join(thinking for thinking, _ in pieces), "".join(content for _, content in pieces)


@pytest.mark.parametrize(
    ("text", "thinking", "content"),
    [
        ("<t>a</t>b", "a", "b"),
        ("<t> a </t> b ", "a ", "b "),
        (" \n<t>a</t>b", "a", "b"),
        ("b", "", "b"),
        ("  b", "", "  b"),
        ("b<t>a</t>", "", "b<t>a</t>"),
        ("<t>a</t>b<t>c</t>", "a", "b<t>c</t>"),
        ("<t></t>b", "", "b"),
        ("<t>a", "a", ""),
        ("<t>a</x>b</t>c", "a</x>b", "c"),
        ("<x>", "", "<x>"),
        ("", "", ""),
        ("   ", "", ""),
        ("<t", "", ""),
        ("<t>a</t", "a", ""),
    ],
)
def test_feed_splits_thinking_from_content(text: str, thinking: str, content: str) -> None:
    assert feed(ThinkingParser("<t>", "</t>"), text) == (thinking, content)


def test_feed_holds_back_only_what_may_be_a_tag() -> None:
    parser = ThinkingParser("<t>", "</t>")
    steps = [
        parser.feed(chunk) for chunk in ("<", "t>", " ", "a<", "b</", "t", ">", "\n", "c ", "d")
    ]
    nothing = ("", "")
    assert steps[:5] == [nothing, nothing, nothing, ("a", ""), ("<b", "")]
    assert steps[5:] == [nothing, nothing, nothing, ("", "c "), ("", "d")]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("<t", ("", "<t")),
        ("  ", ("", "  ")),
        ("<t>a</", ("</", "")),
        ("<t> ", ("", "")),
        ("<t>a</t> ", ("", "")),
        ("b", ("", "")),
    ],
)
def test_finish_gives_what_was_held_back(text: str, held: tuple[str, str]) -> None:
    parser = ThinkingParser("<t>", "</t>")
    parser.feed(text)
    assert parser.finish() == held
    assert parser.finish() == ("", "")


def test_feed_goes_on_thinking_after_an_opening_tag_of_the_prompt() -> None:
    parser = ThinkingParser("<t>", "</t>")
    assert parser.feed("<t>") == ("", "")
    assert feed(parser, "a", "</t>", "b") == ("a", "b")


TEXT = st.text(alphabet="<t>/ a\n", max_size=30) | st.sampled_from(
    ["<t>thought</t>\n\nanswer", " <t> \n one </t two </t> three <t>", "<t>a</t>"]
)


@given(TEXT, st.data())
def test_feed_gives_the_same_for_every_split(text: str, data: st.DataObject) -> None:
    whole = feed(ThinkingParser("<t>", "</t>"), text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert feed(ThinkingParser("<t>", "</t>"), *pieces) == whole
    assert feed(ThinkingParser("<t>", "</t>"), *text) == whole


@pytest.mark.parametrize(
    ("text", "tag", "size"),
    [
        ("ab<", "<t>", 1),
        ("<t", "<t>", 2),
        ("<t>", "<t>", 0),
        ("", "<t>", 0),
        ("aa", "aaa", 2),
        ("x", "y", 0),
        ("anything", "", 0),
    ],
)
def test_overlap_counts_the_begun_tag(text: str, tag: str, size: int) -> None:
    assert overlap(text, tag) == size
