import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate.lexer import Kind, tokenize


def kinds(source: str) -> list[str]:
    return [token.kind.name for token in tokenize(source)]


def texts(source: str) -> list[str]:
    return [token.text for token in tokenize(source) if token.kind is Kind.TEXT]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", "END"),
        ("plain", "TEXT END"),
        ("{{.A}}", "OPEN FIELD CLOSE END"),
        ("{{ . }}", "OPEN SPACE DOT SPACE CLOSE END"),
        ("{{$x:=1}}", "OPEN VARIABLE DECLARE NUMBER CLOSE END"),
        ("{{$x = 1}}", "OPEN VARIABLE SPACE ASSIGN SPACE NUMBER CLOSE END"),
        ("{{$.A}}", "OPEN VARIABLE FIELD CLOSE END"),
        ("{{len(.A)|f}}", "OPEN WORD LEFT FIELD RIGHT PIPE WORD CLOSE END"),
        ("{{$i,$v:=.}}", "OPEN VARIABLE COMMA VARIABLE DECLARE DOT CLOSE END"),
        ("{{if true}}", "OPEN KEYWORD SPACE WORD CLOSE END"),
        ('{{"a\\"b"`c`\'d\'}}', "OPEN STRING RAW CHAR CLOSE END"),
        ("{{-3}}", "OPEN NUMBER CLOSE END"),
        ("{{.5 1.5e+3 0x1F 1_0}}", "OPEN " + "NUMBER SPACE " * 3 + "NUMBER CLOSE END"),
        ("{{.é_1}}", "OPEN FIELD CLOSE END"),
        ("{{/* c */}}", "END"),
        ("{{1 }}", "OPEN NUMBER SPACE CLOSE END"),
        ("{{1  -}}", "OPEN NUMBER SPACE CLOSE END"),
    ],
)
def test_tokenize_names_every_piece(source: str, expected: str) -> None:
    assert kinds(source) == expected.split()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a {{1}} b", ["a ", " b"]),
        ("a \n{{- 1}} b", ["a", " b"]),
        ("a {{1 -}}\t\r\n b", ["a ", "b"]),
        ("a {{- 1 -}} b", ["a", "b"]),
        ("a  {{- /* c */ -}}  b", ["a", "b"]),
        (" {{- 1 -}} {{- 2 -}} ", []),
        ("a{{-1}}b", ["a", "b"]),
    ],
)
def test_tokenize_trims_text_beside_markers(source: str, expected: list[str]) -> None:
    assert texts(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ .A ", "unclosed action"),
        ("{{", "unclosed action"),
        ("{{ .A {{ }}", "unrecognized character in action: U+007B '{'"),
        ('{{ "a }}', "unterminated quoted string"),
        ("{{ `a }}", "unterminated raw quoted string"),
        ("{{ 'a }}", "unterminated character constant"),
        ("{{ $x : 1 }}", "expected :="),
        ("{{ 1a }}", "bad number syntax: '1a'"),
        ("{{ + }}", "bad number syntax: '+'"),
        ("{{ .A! }}", "bad character U+0021 '!'"),
        ('{{ a"b" }}', "bad character U+0022"),
        ("{{ # }}", "unrecognized character in action: U+0023 '#'"),
        ("{{ ) }}", "unexpected right paren"),
        ("{{ (1 }}", "unclosed left paren"),
        ("{{/* a", "unclosed comment"),
        ("{{/* a */ b}}", "comment ends before closing delimiter"),
        ("{{/* a */", "comment ends before closing delimiter"),
    ],
)
def test_tokenize_refuses_what_no_token_holds(source: str, message: str) -> None:
    with pytest.raises(InvalidTemplate, match=r"^template: :1:") as caught:
        list(tokenize(source))
    assert message in str(caught.value)


def test_tokenize_tells_line_and_column_of_a_mistake() -> None:
    with pytest.raises(InvalidTemplate) as caught:
        list(tokenize("one\ntwo {{ .A }}\n  {{ # }}"))
    assert (caught.value.line, caught.value.column) == (3, 6)


@given(st.text(alphabet="{}-./*\"'`$|:=(), \n1aé", max_size=40))
def test_tokenize_gives_tokens_in_order_or_invalid_template(source: str) -> None:
    try:
        tokens = list(tokenize(source))
    except InvalidTemplate:
        return
    positions = [token.position for token in tokens]
    assert positions == sorted(positions)
    assert tokens[-1].kind is Kind.END


@given(st.text(max_size=60).filter(lambda text: "{{" not in text))
def test_tokenize_keeps_text_without_actions(source: str) -> None:
    assert "".join(texts(source)) == source
