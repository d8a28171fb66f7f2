import json

import pytest

from ollama_jupyter.api.types import (
    JSON,
    Tool,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)
from ollama_jupyter.prompt.renderers.jsontext import (
    arguments_json,
    indented_tool_json,
    parameters_json,
    property_members,
    spaced,
    text_or_json,
    tool_json,
)
from tests.prompt.renderers.conversation import tool


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "{}"),
        ({"b": 1, "a": 2.0, "c": 1.5}, '{"b":1,"a":2,"c":1.5}'),
        ({"z": {"y": 1, "x": [True, None]}}, '{"z":{"x":[true,null],"y":1}}'),
        ({"t": "<é>"}, '{"t":"\\u003cé\\u003e"}'),
    ],
)
def test_arguments_json_keeps_the_order_of_the_outermost(
    arguments: dict[str, JSON], expected: str
) -> None:
    assert arguments_json(arguments) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":[1,2]}', '{"a": [1, 2]}'),
        ('{"a:b,c":"x,y:z"}', '{"a:b,c": "x,y:z"}'),
        (r'{"a":"\"q\",:\\","b":1}', r'{"a": "\"q\",:\\", "b": 1}'),
        ("{}", "{}"),
    ],
)
def test_spaced_leaves_strings_alone(text: str, expected: str) -> None:
    assert spaced(text) == expected
    assert json.loads(spaced(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), (1, "1"), (None, "null"), (True, "true"), ([{"a": "b"}], '[{"a":"b"}]')],
)
def test_text_or_json_quotes_no_text(value: JSON, expected: str) -> None:
    assert text_or_json(value) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (ToolParameters(), '{"type":"","properties":{}}'),
        (
            ToolParameters(
                type="object",
                defs={"d": 1},
                items={"type": "string"},
                required=("b", "a"),
                properties={"b": ToolProperty(type="string"), "a": ToolProperty(items={})},
            ),
            '{"type":"object","$defs":{"d":1},"items":{"type":"string"},"required":["b","a"],'
            '"properties":{"b":{"type":"string"},"a":{"items":{}}}}',
        ),
    ],
)
def test_parameters_json_leaves_out_what_is_empty(
    parameters: ToolParameters, expected: str
) -> None:
    assert parameters_json(parameters) == expected


def test_property_members_follow_one_order() -> None:
    each = ToolProperty(
        any_of=(ToolProperty(type="integer"), ToolProperty(type=("string", "null"))),
        type=("object",),
        description="d",
        enum=("x", 1),
        properties={"q": ToolProperty(type="string"), "p": ToolProperty()},
        required=("q",),
    )
    assert list(property_members(each).items()) == [
        ("anyOf", '[{"type":"integer"},{"type":["string","null"]}]'),
        ("type", '"object"'),
        ("description", '"d"'),
        ("enum", '["x",1]'),
        ("properties", '{"q":{"type":"string"},"p":{}}'),
        ("required", '["q"]'),
    ]
    assert property_members(ToolProperty()) == {}


def test_tool_json_always_has_a_description() -> None:
    assert tool_json(tool("f")) == (
        '{"type":"function","function":{"name":"f","description":"",'
        '"parameters":{"type":"object","properties":{}}}}'
    )
    assert tool_json(Tool(items=[1], function=ToolFunction(name="f"))) == (
        '{"type":"","items":[1],"function":{"name":"f","description":"",'
        '"parameters":{"type":"","properties":{}}}}'
    )


def test_indented_tool_json_is_the_same_value() -> None:
    offered = tool("f", "é", a=ToolProperty(type="string"))
    text = indented_tool_json(offered)
    assert json.loads(text) == json.loads(tool_json(offered))
    assert text.startswith('{\n    "type": "function",\n    "function": {\n        "name": "f",')
    assert "é" in text
