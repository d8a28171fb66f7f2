import pytest

from ollama_jupyter.api.types import JSON
from ollama_jupyter.inference.output.families.literals import LiteralReader, bare_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (" -1.5e3 ", -1500.0),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("NaN", "NaN"),
        ("two words", "two words"),
        ('"a\\"b\\n"', 'a"b\n'),
        ("'it\\'s'", "it's"),
        ("'\\u00e4\\ud83d\\ude00'", "ä😀"),
        ("'\\ud83d'", "\ufffd"),
        ("[]", []),
        ("[1, 'a', [2],]", [1, "a", [2]]),
        ("(1, 2)", [1, 2]),
        ("{}", {}),
        ("{'a': 1, \"b\": {c: [d]}}", {"a": 1, "b": {"c": ["d"]}}),
    ],
)
def test_value_reads_json_and_python(text: str, value: JSON) -> None:
    assert LiteralReader(text).value() == value


@pytest.mark.parametrize("text", ["", "'a", "[1", "['a' 1]", "{a}", "{a:}", "{:1}", "[,]", "{a: 1"])
def test_value_fails_when_there_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r" at |does not end"):
        LiteralReader(text).value()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[<q>a 'b' \\n<q>, <q><q>]", ["a 'b' \\n", ""]),
        ("{<q>a b<q>: 1}", {"a b": 1}),
        ("[<q>a, b]}", ["a, b"]),
        ("{a: [1", {"a": [1]}),
        ("{a: 1,", {"a": 1}),
    ],
)
def test_value_bears_what_is_missing_at_the_end(text: str, value: JSON) -> None:
    assert LiteralReader(text, marker="<q>", is_lenient=True).value() == value


def test_value_fails_when_a_marked_string_does_not_end() -> None:
    with pytest.raises(ValueError, match="does not end"):
        LiteralReader("<q>a", marker="<q>").value()


def test_bare_value_keeps_a_number_too_long_to_read() -> None:
    assert bare_value("1" * 5000) == "1" * 5000
