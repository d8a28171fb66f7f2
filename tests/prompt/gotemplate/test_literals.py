import pytest

from ollama_jupyter.prompt.gotemplate import literals


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("0", 0),
        ("-3", -3),
        ("+3", 3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("-0X1f", -31),
        ("0xe", 14),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("-017", -15),
        ("1.5", 1.5),
        ("5.", 5.0),
        (".5", 0.5),
        ("1e3", 1000.0),
    ],
)
def test_number_reads_as_go_does(literal: str, value: float) -> None:
    result = literals.number(literal)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    "literal", ["9223372036854775808", "089", "1__0", "0x_", "1" * 5000, "1._5"]
)
def test_number_refuses_what_go_refuses(literal: str) -> None:
    with pytest.raises(ValueError):
        literals.number(literal)


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ('"a"', "a"),
        ('"\\n\\t\\\\\\""', '\n\t\\"'),
        ('"\\xc3\\xa9"', "é"),
        ('"\\u00e9"', "é"),
        ('"\\U0001F600"', "😀"),
        ('"\\101"', "A"),
        ("`a\\n\r`", "a\\n"),
        ('"é"', "é"),
        ('"\\xff"', "\ufffd"),
        ('""', ""),
    ],
)
def test_text_resolves_escapes(literal: str, value: str) -> None:
    assert literals.text(literal) == value


@pytest.mark.parametrize(
    "literal", ['"\\q"', '"\\\'"', '"\\x4"', '"\\777"', '"\\ud800"', '"\\U00110000"']
)
def test_text_refuses_unknown_escapes(literal: str) -> None:
    with pytest.raises(ValueError, match="invalid syntax"):
        literals.text(literal)


@pytest.mark.parametrize(("literal", "value"), [("'a'", 97), ("'é'", 233), ("'\\''", 39)])
def test_character_gives_the_code_point(literal: str, value: int) -> None:
    assert literals.character(literal) == value


@pytest.mark.parametrize("literal", ["''", "'ab'", "'\\\"'"])
def test_character_refuses_other_than_one(literal: str) -> None:
    with pytest.raises(ValueError):
        literals.character(literal)
