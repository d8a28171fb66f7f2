import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate import Budget, Template
from ollama_jupyter.prompt.gotemplate.evaluate import MAX_CALLS
from ollama_jupyter.prompt.gotemplate.kinds import Record

DATA = {
    "one": 1,
    "text": "héllo",
    "list": ("a", "b", "c"),
    "map": {"b": 2, "a": {"x": "deep"}},
    "none": None,
    "record": Record("thing", {"Name": "n"}, {}),
    "data": b"\x01\x02",
}


def execute(source: str) -> str:
    """What a template prints for DATA; a comment keeps Template from adding `.Response`."""
    return Template.parse(source + "{{ if false }}{{ .Response }}{{ end }}").execute(DATA)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ .one }} {{ .text }}", "1 héllo"),
        ("{{ .nope }} {{ .none }} {{ .nope.x.y }}", "<no value> <no value> <no value>"),
        ("{{ .map.a.x }} {{ $.map.a.x }} {{ (.map).a.x }}", "deep deep deep"),
        ("{{ .record.Name }}", "n"),
        ("{{ . | len }}", "7"),
        ("{{ if .one }}y{{ else }}n{{ end }}", "y"),
        ("{{ if .none }}y{{ else if .text }}m{{ else }}n{{ end }}", "m"),
        ("{{ if .none }}y{{ end }}", ""),
        ("{{ with .map }}{{ .b }}{{ end }}", "2"),
        ("{{ with .none }}{{ . }}{{ else }}{{ .one }}{{ end }}", "1"),
        ("{{ with $x := .text }}{{ $x }}{{ . }}{{ end }}", "héllohéllo"),
        ("{{ range .list }}{{ . }},{{ end }}", "a,b,c,"),
        ("{{ range $v := .list }}{{ $v }},{{ end }}", "a,b,c,"),
        ("{{ range $i, $v := .list }}{{ $i }}{{ $v }}{{ end }}", "0a1b2c"),
        ("{{ range $k, $v := .map }}{{ $k }} {{ end }}", "a b "),
        ("{{ range .data }}{{ . }}{{ end }}", "12"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range $n := 2 }}{{ $n }}{{ end }}", "01"),
        ("{{ range .none }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ range 0 }}x{{ end }}", ""),
        ('{{ range .list }}{{ if eq . "b" }}{{ continue }}{{ end }}{{ . }}{{ end }}', "ac"),
        ('{{ range .list }}{{ if eq . "b" }}{{ break }}{{ end }}{{ . }}{{ end }}', "a"),
        ("{{ $x := 1 }}{{ range .list }}{{ $x = . }}{{ end }}{{ $x }}", "c"),
        ("{{ $x := 1 }}{{ range $x = .list }}{{ end }}{{ $x }}", "c"),
        ("{{ $i := 7 }}{{ $x := 1 }}{{ range $i, $x = .list }}{{ end }}{{ $i }}{{ $x }}", "2c"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ $x }}{{ end }}{{ $x }}", "32"),
        ('{{ define "t" }}[{{ . }}{{ $ }}]{{ end }}{{ template "t" .one }}', "[11]"),
        ('{{ block "t" .one }}<{{ . }}>{{ end }}', "<1>"),
        ("{{ print nil }}", "<nil>"),
        ("{{ and 1 0 2 }}{{ and 1 2 }}{{ or 0 3 4 }}{{ or 0 false }}", "023false"),
        ("{{ 1 | and 2 }}{{ 1 | and 0 }}{{ 1 | and }}{{ 5 | or 0 }}", "1015"),
        ("{{ and false (index .list 99) }}", "false"),
        ("{{ (print 1) }}{{ print (print) }}{{ print print }}", "1"),
        ("{{ eq (len (slice .list 2)) 1 }}", "true"),
    ],
)
def test_execute_prints(source: str, expected: str) -> None:
    assert execute(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ .record.Nope }}", "can't evaluate field Nope in type thing"),
        ("{{ .text.x }}", "can't evaluate field x in type string"),
        ("{{ .one 2 }}", "can't give argument to non-function"),
        ("{{ 1 | .one }}", "can't give argument to non-function"),
        ("{{ nil }}", "nil is not a command"),
        ('{{ template "x" . }}', 'template "x" not defined'),
        ("{{ range .text }}{{ end }}", "range can't iterate over héllo"),
        ("{{ range true }}{{ end }}", "range can't iterate over true"),
        ("{{ range $i, $v := 3 }}{{ end }}", "can't use 3 to iterate over more than one variable"),
        ("{{ $x = 1 }}", "undefined variable: $x"),
        ("{{ $x := $x }}", "undefined variable: $x"),
        ("{{ if $x = 1 }}{{ $x }}{{ end }}", "undefined variable: $x"),
        ("{{ len }}", "wrong number of args for len: want 1 got 0"),
        ("{{ index }}", "wrong number of args for index: want at least 1 got 0"),
        ("{{ and }}", "wrong number of args for and: want at least 1 got 0"),
        ("{{ eq 1 true }}", "incompatible types for comparison"),
    ],
)
def test_execute_fails(source: str, message: str) -> None:
    with pytest.raises(InvalidTemplate) as caught:
        execute("\n" + source)
    assert message in str(caught.value)
    assert caught.value.line == 2


# --- budget ---------------------------------------------------------------------------------

HOSTILE = {
    "empty range": "{{ range 1000000000000 }}{{ end }}",
    "nested ranges": "{{ range 100000 }}{{ range 100000 }}x{{ end }}{{ end }}",
    "doubling": '{{ $x := "ab" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}',
    "wide": '{{ range 100000 }}{{ printf "%999d" 1 }}{{ end }}',
    "precise": '{{ range 100000 }}{{ printf "%.999f" 1.0 }}{{ end }}',
    "copies": '{{ $x := printf "%999s" "" }}{{ range 100000 }}{{ slice $x 1 | len }}{{ end }}',
    "escaped": '{{ $x := "<<" }}{{ range 1000 }}{{ $x = html $x $x }}{{ end }}',
    "recursion": '{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}',
    "tree": '{{ define "r" }}{{ range 9 }}{{ template "r" . }}{{ end }}{{ end }}'
    '{{ template "r" . }}',
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_execute_ends_hostile_templates_early(source: str) -> None:
    start = time.monotonic()
    with pytest.raises(InvalidTemplate, match=r"too many steps|too much text|inside one another"):
        execute(source)
    assert time.monotonic() - start < 10


def test_execute_allows_as_many_calls_as_promised() -> None:
    chain = "".join(
        f'{{{{ define "t{n}" }}}}{{{{ template "t{n + 1}" . }}}}{{{{ end }}}}'
        for n in range(MAX_CALLS - 1)
    )
    source = f'{chain}{{{{ define "t{MAX_CALLS - 1}" }}}}end{{{{ end }}}}{{{{ template "t0" . }}}}'
    assert execute(source) == "end"


def test_execute_turns_exhausted_recursion_into_an_error() -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"x": deep}
    with pytest.raises(InvalidTemplate, match="nested too deep"):
        Template.parse("{{ .Response }}").execute({"Response": deep})


def test_execute_stops_when_the_given_budget_is_used_up() -> None:
    template = Template.parse("{{ range .Messages }}{{ . }}{{ end }}")
    budget = Budget(steps=1000, characters=5)
    assert template.execute({"Messages": ("ab", "cd")}, budget=budget) == "abcd"
    assert budget.characters == 1
    with pytest.raises(InvalidTemplate, match="too much text"):
        template.execute({"Messages": ("ab",)}, budget=budget)
    with pytest.raises(InvalidTemplate, match="too many steps"):
        template.execute({"Messages": ("ab",)}, budget=Budget(steps=3))


_PIECES = st.sampled_from(
    [
        "{{ .list }}",
        "{{ if .one }}",
        "{{ else }}",
        "{{ end }}",
        "{{ range .list }}",
        "x",
        "{{ $x }}",
        "{{ $x := 2 }}",
        "{{ with .map }}",
        "{{ break }}",
        "{{ .record }}",
        '{{ printf "%d" .one }}',
        '{{ define "d" }}',
        '{{ template "d" . }}',
        "{{ index .list 9 }}",
        "{{- 1 -}}",
        "{{",
        "}}",
    ]
)


@given(st.lists(_PIECES, max_size=12))
@settings(max_examples=300)
def test_execute_gives_text_or_invalid_template(pieces: list[str]) -> None:
    with contextlib.suppress(InvalidTemplate):
        assert isinstance(Template.parse("".join(pieces)).execute(DATA), str)
