import pytest

from ollama_jupyter.api.types import JSON, Message, Think, ToolProperty
from ollama_jupyter.prompt.renderers.glm import render_glm
from tests.prompt.renderers.conversation import call, says, tool

START = "[gMASK]<sop>"
NEXT = "<|assistant|><think>"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], ""),
        ([says("system", "s"), says("user", "q")], "<|system|>s<|user|>q"),
        (
            [says("user", "q"), says("assistant", " a ", thinking=" t ")],
            "<|user|>q<|assistant|><think>t</think>a",
        ),
        (
            [says("user", "q"), says("assistant", "<think>t</think>a")],
            "<|user|>q<|assistant|><think>t</think>a",
        ),
        (
            [says("assistant", "<think>t</think>a"), says("user", "q")],
            "<|assistant|></think>a<|user|>q",
        ),
        (
            [says("tool", "1"), says("tool", "2"), says("user", "q"), says("tool", "3")],
            "<|observation|><tool_response>1</tool_response><tool_response>2</tool_response>"
            "<|user|>q<|observation|><tool_response>3</tool_response>",
        ),
    ],
)
def test_turns_are_marked(messages: list[Message], expected: str) -> None:
    assert render_glm(messages, [], None, True) == f"{START}{expected}{NEXT}"


@pytest.mark.parametrize(
    ("think", "end"),
    [(None, "<think>"), (True, "<think>"), ("low", "<think>"), (False, "</think>")],
)
def test_it_thinks_unless_told_not_to(think: Think | None, end: str) -> None:
    assert render_glm([says("user", "q")], [], think, True).endswith(f"q<|assistant|>{end}")


@pytest.mark.parametrize(
    ("value", "expected"), [("a", "a"), (1, "1"), ([1, {"k": "v"}], '[1, {"k": "v"}]')]
)
def test_calls_pair_keys_and_values(value: JSON, expected: str) -> None:
    prompt = render_glm([says("assistant", "", call("f", x=value, b=True))], [], None, True)
    assert prompt == (
        f"{START}<|assistant|></think><tool_call>f<arg_key>x</arg_key>"
        f"<arg_value>{expected}</arg_value><arg_key>b</arg_key><arg_value>true</arg_value>"
        f"</tool_call>{NEXT}"
    )


def test_tools_come_first() -> None:
    offered = [tool("f", "d", x=ToolProperty(type="string")), tool("g")]
    prompt = render_glm([says("system", "s")], offered, None, True)
    assert prompt.startswith(f"{START}<|system|>\n# Tools\n")
    assert (
        '<tools>\n{"type": "function", "function": {"name": "f", "description": "d", "parameters":'
        ' {"type": "object", "properties": {"x": {"type": "string"}}}}}\n{"type": "function"'
    ) in prompt
    assert prompt.endswith(f"...</tool_call><|system|>s{NEXT}")
