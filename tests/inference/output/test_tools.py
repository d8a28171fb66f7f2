import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.types import JSON, Tool, ToolCall, ToolFunction
from ollama_jupyter.inference.output.tools import (
    ToolParser,
    find_arguments,
    find_tag,
    find_tool,
    is_balanced,
    leftover,
)
from ollama_jupyter.prompt.gotemplate import Template

TAGGED = Template.parse("{{ if .ToolCalls }}<call>{{ range .ToolCalls }}{{ . }}{{ end }}{{ end }}")
BRACE = Template.parse("{{ .Messages }}")
BRACKET = Template.parse("{{ if .ToolCalls }}[{{ range .ToolCalls }}{{ . }}{{ end }}]{{ end }}")
NAMES = ("add", "say", "say_twice")


def parser(template: Template, names: tuple[str, ...] = NAMES) -> ToolParser:
    return ToolParser(template, [Tool(function=ToolFunction(name=name)) for name in names])


def feed(reading: ToolParser, *chunks: str) -> tuple[str, list[tuple[int, str, JSON]]]:
    """All content and all calls of the chunks."""
    content: list[str] = []
    calls: list[ToolCall] = []
    for chunk in chunks:
        more, new = reading.feed(chunk)
        content.append(more)
        calls += new
    functions = [call.function for call in calls]
    return "".join(content), [(each.index, each.name, each.arguments) for each in functions]


@pytest.mark.parametrize(
    ("template", "text", "content", "calls"),
    [
        (TAGGED, "no call", "no call", []),
        (TAGGED, '<call>{"name":"add","arguments":{"a":1}}', "", [(0, "add", {"a": 1})]),
        (TAGGED, 'x <call>add {"a":1} say {}', "x ", [(0, "add", {"a": 1}), (1, "say", {})]),
        (TAGGED, '<call>say_twice{"a":"}"}', "", [(0, "say_twice", {"a": "}"})]),
        (TAGGED, '<call>{"a":1}<add>', "", [(0, "add", {"a": 1})]),
        (TAGGED, '<call>{"name":"add"}', "", []),
        (TAGGED, '<call>{"name":"other","arguments":{}}', "", []),
        (TAGGED, '{"name":"add","arguments":{}}', '{"name":"add","arguments":{}}', []),
        (BRACE, '{"name":"add","parameters":{"a":1}}', "", [(0, "add", {"a": 1})]),
        (BRACE, ' {"add":{"a":1}} rest', " ", [(0, "add", {"a": 1})]),
        (BRACE, 'x {"add":{"a":1}}', 'x {"add":{"a":1}}', []),
        (BRACE, '{"other":1} {"add":{}}', "", [(0, "add", {"other": 1})]),
        (BRACE, '{"other":1} {"more":{}}', '{"other":1} {"more":{}}', []),
        (BRACKET, "[1, 2] text", "[1, 2] text", []),
        (
            BRACKET,
            '[{"add":{"a":[1]}},{"say":{}}]end',
            "",
            [(0, "add", {"a": [1]}), (1, "say", {})],
        ),
    ],
)
def test_feed_takes_calls_out_of_text(
    template: Template, text: str, content: str, calls: list[tuple[int, str, JSON]]
) -> None:
    assert feed(parser(template), text) == (content, calls)


def test_feed_gives_all_text_back_once_it_is_done() -> None:
    reading = parser(BRACE)
    assert reading.feed("hello") == ("hello", [])
    assert reading.feed('{"add":{}}') == ('{"add":{}}', [])
    assert reading.leftover() == ""


def test_feed_waits_for_a_name_that_may_go_on() -> None:
    reading = parser(TAGGED)
    assert feed(reading, "<call>{} say") == ("", [])
    assert feed(reading, "_tw") == ("", [])
    assert feed(reading, "ice") == ("", [(0, "say_twice", {})])


@pytest.mark.parametrize(
    ("template", "text", "rest"),
    [
        (BRACE, '{"a": 1', '{"a": 1'),
        (BRACKET, "[1, 2", "[1, 2"),
        (TAGGED, "<call>x", ""),
        (TAGGED, "a <ca", ""),
        (BRACE, '{"add":{}', '{"add":{}'),
        (BRACE, '{"add":{}}', ""),
    ],
)
def test_leftover_gives_back_a_bracket_that_was_no_call(
    template: Template, text: str, rest: str
) -> None:
    reading = parser(template)
    reading.feed(text)
    assert reading.leftover() == rest


def test_leftover_is_nothing_after_a_call() -> None:
    assert leftover("{", '{"x"', 1) == ""


# --- every split ----------------------------------------------------------------------------

STREAMS = [
    (TAGGED, 'text <c <call>{"name":"add","arguments":{"a":"{<call>"}}</call><call>say{"b":[1]}'),
    (BRACE, '{"name":"say_twice","parameters":{"q":"a\\"}b"}}'),
    (BRACKET, '[{"name":"add","arguments":{}},{"name":"say","arguments":{"x":null}}]'),
    (TAGGED, "no <call at all"),
    (BRACE, 'text {"name":"add","arguments":{}}'),
]


@pytest.mark.parametrize(("template", "text"), STREAMS)
def test_feed_gives_the_same_for_every_split(template: Template, text: str) -> None:
    whole = feed(parser(template), text)
    assert feed(parser(template), *text) == whole
    for cut in range(len(text)):
        assert feed(parser(template), text[:cut], text[cut:]) == whole


@given(st.text(alphabet='{}[]"\\adsy,:<cal>1 ', max_size=40), st.sampled_from([0, 1, 2]))
def test_feed_never_fails(text: str, which: int) -> None:
    reading = parser((TAGGED, BRACE, BRACKET)[which])
    content, _ = feed(reading, *text)
    assert isinstance(content + reading.leftover(), str)


def test_feed_stays_fast_in_a_long_call() -> None:
    reading = parser(TAGGED)
    start = time.monotonic()
    chunks = ['<call>add{"text": "'] + ['some \\"text\\" '] * 3000 + ['"}']
    _, calls = feed(reading, *chunks)
    assert len(calls) == 1
    assert time.monotonic() - start < 20


# --- finding --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        ("<c>", "a<c>b", (1, True)),
        ("<c>", "a<c", (1, False)),
        ("<c>", "abc", (-1, False)),
        ("{", "a{", (1, True)),
        ("<c>", "", (-1, False)),
    ],
)
def test_find_tag_locates_all_or_a_beginning(
    tag: str, text: str, expected: tuple[int, bool]
) -> None:
    assert find_tag(tag, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x say_twice y", ("say_twice", 11)),
        ("say add", ("say", 3)),
        ("say_", None),
        ("nothing", None),
        ("a", None),
        ("", None),
    ],
)
def test_find_tool_takes_the_first_and_longest(text: str, expected: tuple[str, int] | None) -> None:
    assert find_tool(NAMES, text) == expected


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", None),
        ("{", None),
        ("} {}", {}),
        ('{"a":1}', {"a": 1}),
        ('{bad} {"a":1}', {"a": 1}),
        ('{"a":NaN} {"a":1}', {"a": 1}),
        ('{"name":"f","arguments":{"a":1},"parameters":{"b":2}}', {"a": 1}),
        ('{"name":"f","arguments":"{\\"a\\":1}"}', {"a": 1}),
        ('{"name":"f","arguments":"no","parameters":{"b":2}}', {"b": 2}),
        ('{"name":"f","arguments":[1]}', None),
        ('{"name":"f"} {"a":1}', None),
        ('{"f":{"a":1}}', {"a": 1}),
        ('{"f":"{\\"a\\":1}"}', {"a": 1}),
        ('{"f":"text"}', {"f": "text"}),
        ('{"x":[1,{"y":{"name":"f","arguments":{"a":1}}}]}', {"a": 1}),
        ('{"x":[1,{"y":2}]}', {"x": [1, {"y": 2}]}),
        ('\\{"a":1} {"b":1}', {"b": 1}),
        ('"unfinished { {"a":1}', None),
        ('"unfinished \\', None),
        ("{" * 5000 + "}" * 5000, None),
        ('{"a":' * 5000 + "1" + "}" * 5000, None),
    ],
)
def test_find_arguments_reads_the_first_valid_object(text: str, arguments: JSON) -> None:
    assert find_arguments("f", text)[0] == arguments


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1)))
def test_find_arguments_reads_any_object_back(arguments: dict[str, JSON]) -> None:
    text = json.dumps({"name": "f", "arguments": arguments}, ensure_ascii=False)
    assert find_arguments("f", f"<call>{text}</call>")[0] == arguments


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        ("{", "{}", True),
        ("{", "{{}", False),
        ("[", "[1]", True),
        ("[", "[']'", True),
        ("{", '{"}"', False),
        ("{", "\\{}", False),
        ("<c>", "{}", False),
        ("{", "[]", False),
    ],
)
def test_is_balanced_counts_outside_strings(tag: str, text: str, expected: bool) -> None:
    assert is_balanced(tag, text) is expected
