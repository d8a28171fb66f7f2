import pytest

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate import Template


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("text", "response"),
        ("{{ .Prompt }}", "prompt response"),
        ("{{ .A.B }}{{ .Messages }}", "a b messages"),
        ("{{ $x := .Response }}{{ $x.Y }}", "response $x y"),
        ("{{ range $.Messages }}{{ end }}", "$ messages"),
        ("{{ if .A }}{{ .B }}{{ else }}{{ .Response }}{{ end }}", "a b response"),
        ("{{ with (index .A 1).B }}{{ .Messages }}{{ end }}", "a b messages"),
        ('{{ define "x" }}{{ .Messages }}{{ end }}{{ template "x" .A }}', "messages a"),
        ("{{ len (slice .Messages 1) | eq .A }}", "messages a"),
    ],
)
def test_identifiers_are_all_names_in_lower_case(source: str, names: str) -> None:
    assert Template.parse(source).identifiers == set(names.split())


def test_parse_appends_the_response_when_a_template_shows_neither_it_nor_messages() -> None:
    assert Template.parse("{{ .Prompt }}|").execute({"Prompt": "p", "Response": "r"}) == "p|r"
    assert Template.parse("{{ .Response }}|").execute({"Response": "r"}) == "r|"


def test_parse_refuses_a_template_action_without_argument() -> None:
    with pytest.raises(InvalidTemplate, match="undefined template specified") as caught:
        Template.parse('{{ define "x" }}{{ end }}\n{{ template "x" }}')
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a{{ .Response }}b", "aR"),
        ("a{{ .Prompt }}b{{ .Response }}c{{ .Response }}", "aPbR"),
        ("{{ if .Response }}{{ .Response }} {{ end }}x", "R"),
        ("{{ if .Prompt }}[{{ .Response }}]{{ else }}{{ .Prompt }}{{ end }}x", "[R"),
        ("{{ if .None }}a{{ else }}b{{ .Response }}c{{ end }}x", "bR"),
        ("{{ with .Prompt }}{{ $.Prompt }}{{ end }}{{ .Response }}x", "PR"),
        ("{{ range .List }}{{ . }}{{ end }}{{ print .Response .Prompt }}x", "12R"),
        ("{{ .Prompt | print .Response }}x", "RP"),
        ("{{ .Response | print .Prompt }}x", "R"),
        ('{{ print (print .Response "y") .Prompt }}x', "R"),
        ("{{ .Response }}{{ $x := .Prompt }}{{ range .List }}{{ . }}{{ end }}", "R"),
        ('{{ .Response }}{{ template "x" .Prompt }}{{ define "x" }}{{ . }}{{ end }}', "R"),
        ('{{ template "x" .Prompt }}{{ .Response }}y{{ define "x" }}{{ . }}{{ end }}', "PR"),
        ("{{ range .None }}{{ .Response }}{{ end }}x", ""),
        ("{{ .Messages }}x", "<no value>x"),
    ],
)
def test_cut_after_response_ends_with_the_first_response(source: str, expected: str) -> None:
    values = {"Response": "R", "Prompt": "P", "List": (1, 2)}
    assert Template.parse(source).cut_after_response().execute(values) == expected


def test_cut_after_response_has_only_the_functions_of_go() -> None:
    template = Template.parse("{{ currentDate }}{{ len .Prompt }}{{ .Response }}")
    values = {"Response": "R", "Prompt": "P"}
    assert template.execute(values).endswith("1R")
    with pytest.raises(InvalidTemplate, match='"currentDate" is not a defined function'):
        template.cut_after_response().execute(values)
