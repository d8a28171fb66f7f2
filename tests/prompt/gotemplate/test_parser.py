import pytest

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate.nodes import (
    ActionNode,
    ChainNode,
    FieldNode,
    IfNode,
    LiteralNode,
    Operand,
    RangeNode,
    TemplateNode,
    TextNode,
    VariableNode,
)
from ollama_jupyter.prompt.gotemplate.parser import MAX_NESTING, MAX_TOKENS, parse

FUNCTIONS = ("len", "eq")


def operand(source: str) -> Operand:
    node = parse(source, FUNCTIONS)[""].nodes[-1]
    assert isinstance(node, ActionNode)
    return node.pipe.commands[0].args[0]


def test_parse_builds_fields_variables_and_chains() -> None:
    assert operand("{{ .A.B }}") == FieldNode(3, ("A", "B"))
    assert operand("{{ $.A }}") == VariableNode(3, ("$", "A"))
    chain = operand("{{ (.A).B.C }}")
    assert isinstance(chain, ChainNode)
    assert chain.path == ("B", "C")
    assert operand("{{ true }}") == LiteralNode(3, True)


def test_parse_puts_else_if_alone_into_the_else_list() -> None:
    (node,) = parse("{{ if .A }}a{{ else if .B }}b{{ else }}c{{ end }}", FUNCTIONS)[""].nodes
    assert isinstance(node, IfNode)
    assert node.otherwise is not None
    (inner,) = node.otherwise.nodes
    assert isinstance(inner, IfNode)
    assert inner.otherwise is not None
    assert inner.otherwise.nodes == (TextNode(inner.otherwise.position, "c"),)


def test_parse_keeps_definitions_apart() -> None:
    trees = parse('{{ define "x" }}1{{ end }}{{ block "y" . }}2{{ end }}', FUNCTIONS)
    assert trees.keys() == {"", "x", "y"}
    (node,) = trees[""].nodes
    assert isinstance(node, TemplateNode)
    assert node.name == "y"


def test_parse_replaces_a_definition_only_when_one_of_them_is_empty() -> None:
    empty, full = '{{ define "x" }} {{ end }}', '{{ define "x" }}1{{ end }}'
    assert len(parse(full + empty, ())["x"].nodes) == 1
    assert parse(full + empty, ())["x"] == parse(full, ())["x"]
    assert [type(node) for node in parse(empty + full, ())["x"].nodes] == [TextNode]


def test_parse_reads_range_declarations() -> None:
    (node,) = parse("{{ range $i, $v := .A }}{{ $i }}{{ break }}{{ end }}", FUNCTIONS)[""].nodes
    assert isinstance(node, RangeNode)
    assert node.pipe.declared == ("$i", "$v")
    assert not node.pipe.is_assignment


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ }}", "missing value for command"),
        ("{{ if }}{{ end }}", "missing value for if"),
        ("{{ if 1 }}", "unexpected EOF"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ else }}", "unexpected {{else}}"),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", "expected end; found {{else}}"),
        ("{{ if 1 }}{{ else 2 }}{{ end }}", "unexpected <2> in else"),
        ("{{ if 1 }}{{ end 2 }}", "unexpected <2> in end"),
        ("{{ range 1 }}{{ else range 2 }}{{ end }}", "unexpected <range> in else"),
        ("{{ break }}", "{{break}} outside {{range}}"),
        ("{{ range 1 }}{{ else }}{{ continue }}{{ end }}", "{{continue}} outside {{range}}"),
        ("{{ range 1 }}{{ break 1 }}{{ end }}", "unexpected <1> in {{break}}"),
        ("{{ range 1 }}{{ define }}", "unexpected {{define}}"),
        ("{{ define x }}", "unexpected <x> in define clause"),
        ('{{ define "x" . }}', "unexpected <.> in define clause"),
        ('{{ define "x" }}{{ else }}', "unexpected {{else}} in define clause"),
        ('{{ define "x" }}1{{ end }}{{ define "x" }}2{{ end }}', "multiple definition of"),
        ("{{ template }}", "unexpected <}}> in template clause"),
        ("{{ nope }}", 'function "nope" not defined'),
        ("{{ $x }}", 'undefined variable "$x"'),
        ("{{ if 1 }}{{ $x := 1 }}{{ end }}{{ $x }}", 'undefined variable "$x"'),
        ('{{ $x := 1 }}{{ define "y" }}{{ $x }}{{ end }}', 'undefined variable "$x"'),
        ("{{ $x, $y := 1 }}", "too many declarations in command"),
        ("{{ range $x, $y, $z := 1 }}", "too many declarations in range"),
        ("{{ range $x, 1 }}", "range can only initialize variables"),
        ("{{ range $x, $y }}", "unexpected <}}> in range"),
        ("{{ 1 | 2 }}", "non executable command in pipeline stage 2"),
        ("{{ | 1 }}", "unexpected <|> in command"),
        ("{{ 1, 2 }}", "unexpected <,> in operand"),
        ('{{ "a""b" }}', 'unexpected <"b"> in operand'),
        ("{{ 1 if }}", "unexpected <if> in operand"),
        ('{{ "a".B }}', "unexpected . after term"),
        ("{{ nil.B }}", "unexpected . after term"),
        ("{{ 9223372036854775808 }}", "overflows int"),
        ("{{ () }}", "missing value for parenthesized pipeline"),
        ("{{ '' }}", "malformed character constant"),
    ],
)
def test_parse_refuses(source: str, message: str) -> None:
    with pytest.raises(InvalidTemplate) as caught:
        parse(source, FUNCTIONS)
    assert message in str(caught.value)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("{{ if 1 }}", "{{ end }}"),
        ("{{ if 1 }}{{ else if 1 }}", "{{ end }}"),
        ('{{ block "b" . }}', "{{ end }}"),
    ],
)
def test_parse_refuses_blocks_nested_too_deep(opening: str, closing: str) -> None:
    with pytest.raises(InvalidTemplate, match=f"more than {MAX_NESTING} levels"):
        parse(opening * 5000 + closing * 5000, ())


def test_parse_refuses_too_many_tokens() -> None:
    with pytest.raises(InvalidTemplate, match=f"more than {MAX_TOKENS} tokens"):
        parse("{{.A}}" * MAX_TOKENS, ())


def test_parse_refuses_parentheses_nested_too_deep() -> None:
    with pytest.raises(InvalidTemplate, match="levels deep"):
        parse("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", ())
    assert parse("{{ " + "(" * MAX_NESTING + "1" + ")" * MAX_NESTING + " }}", ())
