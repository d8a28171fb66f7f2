import pytest

from ollama_jupyter.api.types import (
    JSON,
    Message,
    Tool,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)
from ollama_jupyter.prompt.renderers.qwen_coder import render_qwen_coder
from tests.prompt.renderers.conversation import call, says, tool

ASK = "<|im_start|>user\nq<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], ANSWER),
        ([says("system", ""), says("user", "q")], f"{ASK}{ANSWER}"),
        (
            [says("user", "q"), says("system", "s")],
            f"{ASK}<|im_start|>system\ns<|im_end|>\n{ANSWER}",
        ),
        (
            [says("system", "s"), says("user", "q")],
            f"<|im_start|>system\ns<|im_end|>\n{ASK}{ANSWER}",
        ),
        ([says("user", "q"), says("assistant", "a")], f"{ASK}{ANSWER}a"),
        (
            [says("user", "q"), says("assistant", "a"), says("user", "q")],
            f"{ASK}{ANSWER}a<|im_end|>\n{ASK}{ANSWER}",
        ),
        (
            [says("tool", "1"), says("tool", "2"), says("user", "q")],
            "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n"
            f"</tool_response><|im_end|>\n{ASK}{ANSWER}",
        ),
    ],
)
def test_turns_are_marked(messages: list[Message], expected: str) -> None:
    assert render_qwen_coder(messages, [], None, True) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a b", "a b"), (1, "1"), (True, "true"), (None, "null"), ({"k": [1]}, '{"k":[1]}')],
)
def test_calls_hold_values_as_text_or_json(value: JSON, expected: str) -> None:
    prompt = render_qwen_coder([says("assistant", "a", call("f", x=value))], [], None, True)
    assert prompt == (
        f"{ANSWER}a\n\n<tool_call>\n<function=f>\n<parameter=x>\n{expected}\n</parameter>\n"
        "</function>\n</tool_call>"
    )


def test_tools_bring_a_system_turn_of_their_own() -> None:
    prompt = render_qwen_coder([says("user", "q")], [tool("f")], None, True)
    assert prompt.startswith("<|im_start|>system\nYou are Qwen, a helpful AI assistant")
    assert "\n<function>\n<name>f</name>\n<parameters>\n</parameters>\n</function>\n" in prompt
    assert prompt.endswith(f"</IMPORTANT><|im_end|>\n{ASK}{ANSWER}")


def test_tools_show_what_else_their_parameters_say() -> None:
    parameters = ToolParameters(
        type="object",
        defs={"d": 1},
        items={"type": "string"},
        required=("x",),
        properties={
            "x": ToolProperty(type=("string", "null"), description=" <d> ", enum=("u", "v")),
            "y": ToolProperty(),
        },
    )
    function = ToolFunction(name="f", description=" does ", parameters=parameters)
    prompt = render_qwen_coder([says("system", "s")], [Tool(function=function)], None, True)
    assert prompt.startswith("<|im_start|>system\ns\n\n# Tools")
    assert (
        "<name>f</name>\n<description>does</description>\n<parameters>\n"
        '<parameter>\n<name>x</name>\n<type>["string","null"]</type>\n'
        '<description><d></description>\n<enum>["u","v"]</enum>\n</parameter>\n'
        "<parameter>\n<name>y</name>\n</parameter>\n"
        '<$defs>{"d":1}</$defs>\n<items>{"type":"string"}</items>\n<required>["x"]</required>\n'
        "</parameters>"
    ) in prompt
    bare = Tool(function=ToolFunction(name="f"))
    assert "<parameters>\n</parameters>" in render_qwen_coder([], [bare], None, True)
