"""From token bytes to text: characters, stop strings, and that the split never matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.runner.text import StopStrings, TextStream


def _feed(stream: TextStream, *pieces: bytes) -> list[str]:
    return [stream.feed(piece) for piece in pieces]


def test_feed_gives_text_at_once_when_nothing_holds_it() -> None:
    stream = TextStream(StopStrings(()))

    assert _feed(stream, b"Hello", b" world") == ["Hello", " world"]


def test_feed_holds_a_character_until_all_its_bytes_came() -> None:
    stream = TextStream(StopStrings(()))
    cat = "\U0001f431".encode()

    assert _feed(stream, cat[:1], cat[1:3], cat[3:]) == ["", "", "\U0001f431"]


def test_finish_leaves_an_unfinished_character_out() -> None:
    stream = TextStream(StopStrings(()))

    assert stream.feed("a\u00e9".encode()[:-1]) == "a"
    assert stream.finish() == ""


def test_feed_replaces_bytes_that_are_no_text() -> None:
    stream = TextStream(StopStrings(()))

    assert "".join(_feed(stream, b"a\xff", b"b")) == "a\ufffdb"


def test_feed_ends_before_a_stop_string() -> None:
    stream = TextStream(StopStrings(["STOP"]))

    assert "".join(_feed(stream, b"one ST", b"OP two")) == "one "
    assert stream.is_stopped
    assert stream.feed(b"more") == ""
    assert stream.finish() == ""


def test_feed_hands_out_what_turned_out_to_be_no_stop_string() -> None:
    stream = TextStream(StopStrings(["###"]))

    assert _feed(stream, b"a#", b"#", b"b") == ["a", "", "##b"]
    assert not stream.is_stopped


def test_finish_gives_the_start_of_a_stop_string_that_never_ended() -> None:
    stream = TextStream(StopStrings(["\n\nUser:"]))

    assert stream.feed(b"yes\n\nUs") == "yes"
    assert stream.finish() == "\n\nUs"


def test_feed_finds_a_stop_string_inside_the_start_of_another() -> None:
    stream = TextStream(StopStrings(["abcd", "bc"]))

    assert "".join(_feed(stream, b"xa", b"b", b"c")) == "xa"
    assert stream.is_stopped


def test_feed_takes_the_longest_of_two_that_end_together() -> None:
    stream = TextStream(StopStrings(["c", "abc"]))

    assert stream.feed(b"zabc") == "z"


def test_empty_stop_strings_are_ignored() -> None:
    stops = StopStrings(["", ""])

    assert not stops
    assert TextStream(stops).feed(b"text") == "text"


def test_stop_strings_of_several_bytes_a_character_are_found() -> None:
    stream = TextStream(StopStrings(["\u732b"]))
    data = "\u72ac\u732b\u72ac".encode()

    assert "".join(_feed(stream, data[:4], data[4:5], data[5:])) == "\u72ac"
    assert stream.is_stopped


@pytest.mark.parametrize("cut", range(1, 24))
def test_every_split_gives_the_same_text(cut: int) -> None:
    data = "na\u00efve \U0001f680 text END and more".encode()
    stream = TextStream(StopStrings(["END", "more"]))

    text = stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.finish()

    assert text == "na\u00efve \U0001f680 text "


@given(
    text=st.text(alphabet="ab\u00e9#", max_size=30),
    stops=st.lists(st.text(alphabet="ab\u00e9#", min_size=1, max_size=4), max_size=4),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_text_is_what_comes_before_the_stop_that_ends_first(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    data = text.encode()
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    stream = TextStream(StopStrings(stops))

    given_out = ""
    for start, end in zip(borders, borders[1:], strict=False):  # noqa: RUF007 - reads as borders
        given_out += stream.feed(data[start:end])
        assert not any(stop in given_out for stop in stops)
    given_out += stream.finish()

    assert given_out == _expected(text, stops)


def _expected(text: str, stops: list[str]) -> str:
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text
