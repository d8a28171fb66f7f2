import pytest

from ollama_jupyter.api.types import (
    JSON,
    Message,
    Think,
    Tool,
    ToolCall,
    ToolCallFunction,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)
from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.values import message_values, think_values, tool_values

WEATHER = Tool(
    type="function",
    function=ToolFunction(
        name="weather",
        description="Tells <it>",
        parameters=ToolParameters(
            type="object",
            required=("city",),
            properties={
                "unit": ToolProperty(type=("string", "null"), enum=("c", "f", 1)),
                "city": ToolProperty(type="string", description="which"),
                "when": ToolProperty(
                    any_of=(ToolProperty(type="integer"), ToolProperty(type="string")),
                    items={},
                    properties={"x": ToolProperty()},
                    required=("x",),
                ),
            },
        ),
    ),
)

PROPERTIES = (
    '{"city":{"type":"string","description":"which"},'
    '"unit":{"type":["string","null"],"enum":["c","f",1]},'
    '"when":{"anyOf":[{"type":"integer"},{"type":"string"}],"items":{},'
    '"properties":{"x":{}},"required":["x"]}}'
)
FUNCTION = (
    '{"name":"weather","description":"Tells \\u003cit\\u003e","parameters":'
    f'{{"type":"object","required":["city"],"properties":{PROPERTIES}}}}}'
)


def show(source: str, *messages: Message, tools: tuple[Tool, ...] = ()) -> str:
    """What a template prints that sees the first message as dot and the tools as $.Tools."""
    values = {"Messages": message_values(messages), "Tools": tool_values(tools)}
    return Template.parse(source + "{{ if .Messages }}{{ end }}").execute(values)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ .Tools }}", f'[{{"type":"function","function":{FUNCTION}}}]'),
        ("{{ json .Tools }}", f'[{{"type":"function","function":{FUNCTION}}}]'),
        ("{{ range .Tools }}{{ . }}{{ end }}", f'{{"type":"function","function":{FUNCTION}}}'),
        ("{{ range .Tools }}{{ .Function }}{{ end }}", FUNCTION),
        ("{{ range .Tools }}{{ json .Function }}{{ end }}", FUNCTION),
        ("{{ range .Tools }}{{ .Function.Parameters.Properties }}{{ end }}", PROPERTIES),
        ("{{ (index .Tools 0).Function.Parameters.Required }}", "[city]"),
        ("{{ (index .Tools 0).Items }}", "<no value>"),
        (
            "{{ range $n, $p := (index .Tools 0).Function.Parameters.Properties }}"
            "{{ $n }} {{ $p.Type }} {{ toTypeScriptType $p }};{{ end }}",
            "city string string;unit [string null] string | null;when [] number | string;",
        ),
    ],
)
def test_tool_values_print_as_json(source: str, expected: str) -> None:
    assert show(source, tools=(WEATHER,)) == expected


def test_tool_values_print_null_when_there_are_none() -> None:
    assert show("{{ .Tools }}{{ if .Tools }}x{{ end }}{{ len .Tools }}") == "null0"


def test_tool_values_show_items_and_definitions_only_when_given() -> None:
    parameters = ToolParameters(type="object", defs={"b": 1, "a": [1]}, items={})
    tool = Tool(type="t", items=False, function=ToolFunction(name="f", parameters=parameters))
    assert show("{{ .Tools }}", tools=(tool,)) == (
        '[{"type":"t","items":false,"function":{"name":"f","description":"","parameters":'
        '{"type":"object","$defs":{"a":[1],"b":1},"items":{},"properties":{}}}}]'
    )


def _calling(arguments: dict[str, JSON]) -> Message:
    function = ToolCallFunction(index=3, name="f", arguments=arguments)
    return Message(role="assistant", tool_calls=(ToolCall(id="c1", function=function),))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ .ID }} {{ .Function.Index }} {{ .Function.Name }}", "c1 3 f"),
        ("{{ .Function.Arguments }}", '{"a":{"x":[1,true]},"b":1000000,"c":12345678901234567890}'),
        ("{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }} {{ end }}", None),
        ("{{ .Function.Arguments.b }}", "1e+06"),
        (
            "{{ json . }}",
            '{"id":"c1","function":{"index":3,"name":"f","arguments":'
            '{"a":{"x":[1,true]},"b":1000000,"c":12345678901234567890}}}',
        ),
    ],
)
def test_call_values_sort_their_arguments(source: str, expected: str | None) -> None:
    message = _calling({"b": 1000000, "a": {"x": [1, True]}, "c": 12345678901234567890})
    expected = expected or "a=map[x:[1 true]] b=1e+06 c=12345678901234567890 "
    whole = "{{ range .Messages }}{{ range .ToolCalls }}" + source + "{{ end }}{{ end }}"
    assert show(whole, message) == expected


def test_call_values_print_braces_without_arguments() -> None:
    source = "{{ range .Messages }}{{ (index .ToolCalls 0).Function.Arguments }}{{ end }}"
    assert show(source, _calling({})) == "{}"


def test_message_values_have_the_fields_of_the_reference() -> None:
    message = Message(
        role="tool",
        content="c",
        thinking="t",
        images=(b"\x01", b"\x02"),
        tool_name="n",
        tool_call_id="i",
    )
    source = (
        "{{ range .Messages }}{{ .Role }} {{ .Content }} {{ .Thinking }} {{ len .Images }} "
        "{{ .ToolName }} {{ .ToolCallID }} {{ len .ToolCalls }} {{ json . }}{{ end }}"
    )
    assert show(source, message) == (
        'tool c t 2 n i 0 {"role":"tool","content":"c","thinking":"t","images":["AQ==","Ag=="],'
        '"tool_name":"n","tool_call_id":"i"}'
    )


@pytest.mark.parametrize("path", ["Nope", "role", "__class__", "ToolCalls.Nope", "content.Nope"])
def test_message_values_refuse_other_fields(path: str) -> None:
    with pytest.raises(InvalidTemplate, match="can't evaluate field"):
        show("{{ range .Messages }}{{ ." + path + " }}{{ end }}", _calling({}))


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (None, (False, "", False)),
        (False, (False, "", True)),
        (True, (True, "medium", True)),
        ("low", (True, "low", True)),
    ],
)
def test_think_values_follow_the_request(
    think: Think | None, expected: tuple[bool, str, bool]
) -> None:
    values = think_values(think)
    assert (values["Think"], values["ThinkLevel"], values["IsThinkSet"]) == expected
