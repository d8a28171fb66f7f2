import pytest

from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.tags import call_tag, infer_tags


@pytest.mark.parametrize(
    ("template", "tags"),
    [
        ("{{ range .Messages }}<t>{{ .Thinking }}</t>{{ end }}", ("<t>", "</t>")),
        ("{{ range $i, $m := .Messages }} <t>\n{{ .Thinking }} </t>{{ end }}", ("<t>", "</t>")),
        (
            "{{ range .Messages }}x{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}y{{ end }}",
            ("<t>", "</t>"),
        ),
        (
            "{{ range .Messages }}x{{ if .Thinking }}{{ .Thinking }}</t>{{ end }}y{{ end }}",
            ("x", "</t>"),
        ),
        (
            "{{ range .Messages }}{{ if .A }}{{ else }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}",
            ("<t>", "</t>"),
        ),
        (
            "{{ range .Messages }}{{ with .A }}<t>{{ print (print $.Thinking .Thinking) }}</t>"
            "{{ end }}{{ end }}",
            ("<t>", "</t>"),
        ),
        ("<t>{{ .Thinking }}</t>{{ range .Messages }}{{ end }}", ("", "")),
        (
            "{{ range .Messages }}{{ range .ToolCalls }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}",
            ("", ""),
        ),
        (
            "{{ range .Messages }}{{ end }}{{ range .Tools }}<t>{{ .Thinking }}</t>{{ end }}",
            ("", ""),
        ),
        ("{{ range .Messages }}{{ .Thinking }}{{ end }}", ("", "")),
        ("{{ range .Messages }}<t>{{ .Content }}</t>{{ break }}{{ end }}", ("", "")),
        (
            '{{ range .Messages }}<t>{{ template "x" .Thinking }}</t>{{ end }}'
            '{{ define "x" }}{{ . }}{{ end }}',
            ("<t>", "</t>"),
        ),
        ("{{ range .Messages }}<t>{{ (index .Thinking 0).x }}</t>{{ end }}", ("<t>", "</t>")),
        ("{{ range $m := .Messages }}<t>{{ $m.Thinking }}</t>{{ end }}", ("", "")),
    ],
)
def test_infer_tags_finds_what_stands_around_thinking(template: str, tags: tuple[str, str]) -> None:
    assert infer_tags(Template.parse(template)) == tags


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("", "{"),
        ("{{ if .Tools }}<x>{{ end }}", "{"),
        ("{{ if .ToolCalls }} <call> {{ end }}", "<call>"),
        ('{{ if .ToolCalls }}<call>{"a": {{ end }}', "<call>"),
        ("{{ range .Messages }}{{ if and .A .ToolCalls }}[X] [{{ end }}{{ end }}", "[X] ["),
        ("{{ if .A }}{{ else if .ToolCalls }}<call>{{ end }}", "<call>"),
        ("{{ if .ToolCalls }} {{ range .ToolCalls }}\n<call>{{ . }}{{ end }}{{ end }}", "<call>"),
        ("{{ if .ToolCalls }}{{ with .A }} {{ end }}<call>{{ end }}", "{"),
        ("{{ if .ToolCalls }}{{ .A }}<call>{{ end }}", "{"),
        ("{{ if .ToolCalls }} {{ end }}", "{"),
    ],
)
def test_call_tag_is_the_text_before_a_call(template: str, tag: str) -> None:
    assert call_tag(Template.parse(template)) == tag
