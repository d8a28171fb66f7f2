"""Text from a model: nothing but text passes, and words wrap as in the reference."""

import pytest

from ollama_jupyter.cli.terminal import Inert, Wrap, character_columns, inert


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("é 日本 🙂 \u200d", "é 日本 🙂 \u200d"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;200mx", "x"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1b]52;c;aGk=\x07b", "ab"),
        ("a\x1bP1$r\x1b\\b", "ab"),
        ("a\x1b_apc\x1b\\b", "ab"),
        ("a\x1bcb", "ab"),
        ("a\x1b(0b", "ab"),
        ("a\x9b31mb", "ab"),
        ("a\x9d0;t\x9cb", "ab"),
        ("a\r\b\x07\x00\x7f\x85b", "ab"),
        ("a\u202eb\u2066c", "abc"),
        ("\x1b\x1b[31mx", "x"),
        ("a\x1b[31\nb", "a\nb"),
        ("a\x1b]never closed\nb", "a\nb"),
        ("a\x1b\nb", "a\nb"),
        ("a\x1b", "a"),
    ],
)
def test_inert_lets_only_text_pass_at_every_split(text: str, expected: str) -> None:
    assert inert(text) == expected
    for split in range(len(text) + 1):
        stripper = Inert()
        assert stripper.feed(text[:split]) + stripper.feed(text[split:]) == expected


def shown(output: str) -> str:
    """What a terminal shows after this output: only what `Wrap` sends is understood."""
    lines = [""]
    rest = output
    while rest:
        if rest.startswith("\x1b["):
            code, _, rest = rest[2:].partition("K" if rest[2] == "K" else "D")
            if code:
                lines[-1] = lines[-1][: len(lines[-1]) - int(code)]
            continue
        character, rest = rest[0], rest[1:]
        if character == "\n":
            lines.append("")
        else:
            lines[-1] += character
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four", "one two three \nfour"),
        ("one\ntwo", "one\ntwo"),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmno\npqrstuvwxyz"),
        ("aaaaaaa bbbbbbbb ccc", "aaaaaaa \nbbbbbbbb ccc"),
    ],
)
def test_wrap_moves_a_word_that_does_not_fit(text: str, expected: str) -> None:
    whole = Wrap(20)
    assert shown(whole.feed(text)) == expected
    single = Wrap(20)
    assert shown("".join(single.feed(character) for character in text)) == expected


def test_wrap_counts_wide_characters_twice() -> None:
    assert character_columns("日") == 2
    assert shown(Wrap(20).feed("日" * 8)) == f"{'日' * 7}\n日"


@pytest.mark.parametrize("width", [0, 9])
def test_wrap_leaves_a_narrow_terminal_alone(width: int) -> None:
    text = "many words " * 20
    assert Wrap(width).feed(text) == text


def test_wrap_leaves_out_the_blank_at_a_break() -> None:
    assert shown(Wrap(15).feed("abcdefghij klm")) == "abcdefghij\nklm"
