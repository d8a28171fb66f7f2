import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.json_syntax import go_syntax_error

BEGIN = "looking for beginning of value"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"x", f"invalid character 'x' {BEGIN}"),
        (b"'", f"invalid character '\\'' {BEGIN}"),
        (b"\xef\xbb\xbf{}", f"invalid character 'ï' {BEGIN}"),
        (b"\x00", f"invalid character '\\x00' {BEGIN}"),
        (b"\x85", f"invalid character '\\u0085' {BEGIN}"),
        (b"[1,]", f"invalid character ']' {BEGIN}"),
        (b"NaN", f"invalid character 'N' {BEGIN}"),
        (b"{", "unexpected EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a":', "unexpected EOF"),
        (b'{"a":1', "unexpected EOF"),
        (b'{"a', "unexpected EOF"),
        (b"[1", "unexpected EOF"),
        (b"tr", "unexpected EOF"),
        (b"-", "unexpected EOF"),
        (b"[1.", "unexpected EOF"),
        (b'"\\', "unexpected EOF"),
        (b'{"a"}', "invalid character '}' after object key"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b"{1:2}", "invalid character '1' looking for beginning of object key string"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'[{"a":[]}"', "invalid character '\"' after array element"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[01]", "invalid character '1' after array element"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
        (b"nul ", "invalid character ' ' in literal null (expecting 'l')"),
        (b"fa\\", "invalid character '\\\\' in literal false (expecting 'l')"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"-Infinity", "invalid character 'I' in numeric literal"),
        (b"[1.]", "invalid character ']' after decimal point in numeric literal"),
        (b"[1e]", "invalid character ']' in exponent of numeric literal"),
        (b"[1E+x]", "invalid character 'x' in exponent of numeric literal"),
        (b'"\n"', "invalid character '\\n' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
    ],
)
def test_go_syntax_error_words_the_first_fault(body: bytes, message: str) -> None:
    assert go_syntax_error(body) == message


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[[], {}, -0.5e+3, 10, 0, true, false, null] rest",
        b'{"a": {"b": [1.5, "\\u00e9\\n"]}, "c": 2E9}',
    ],
)
def test_go_syntax_error_finds_nothing_in_json(body: bytes) -> None:
    assert go_syntax_error(body) == "invalid JSON"


def test_go_syntax_error_needs_no_stack_for_depth() -> None:
    assert go_syntax_error(b"[" * 100_000) == "unexpected EOF"


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, st.booleans())
def test_go_syntax_error_agrees_with_the_standard_library(value: object, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "replace")
    assert go_syntax_error(body) == "invalid JSON"


@given(values, st.data())
def test_go_syntax_error_finds_a_fault_where_the_standard_library_does(
    value: object, data: st.DataObject
) -> None:
    text = json.dumps([value])
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.sampled_from(["", "x", "}", '"', "\\", "\n", ",", ":", "."]))
    try:
        json.JSONDecoder().raw_decode(text.lstrip(" \t\r\n"))
        is_json = True
    except ValueError:
        is_json = False
    assert (go_syntax_error(text.encode()) == "invalid JSON") == is_json
