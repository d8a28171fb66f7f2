import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.base64_text import decode_base64
from ollama_jupyter.errors import BadRequest


@given(st.binary())
def test_decode_base64_reads_what_was_encoded(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


@given(st.binary(min_size=1), st.integers(1, 5))
def test_decode_base64_ignores_line_ends(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    assert decode_base64("\r\n".join(lines)) == data


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("a", 0),
        ("YWJjZ", 4),
        ("YWJjZA", 4),
        ("YW\nJjZA", 5),
        ("!", 0),
        ("YWJ-", 3),
        ("YW Jj", 2),
        ("é", 0),
        ("=", 0),
        ("Y===", 1),
        ("YW=", 3),
        ("YW=x", 2),
        ("YW=\n", 4),
        ("YW==YWJj", 4),
        ("YWI=\nx", 5),
    ],
)
def test_decode_base64_says_where_the_fault_is(text: str, offset: int) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_base64(text)
    assert str(caught.value) == f"illegal base64 data at input byte {offset}"


@given(st.text())
def test_decode_base64_gives_bytes_or_bad_request(text: str) -> None:
    try:
        decode_base64(text)
    except BadRequest as error:
        offset = int(str(error).rpartition(" ")[2])
        assert 0 <= offset <= len(text.encode("utf-8", "surrogatepass"))
