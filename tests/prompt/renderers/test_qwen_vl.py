import pytest

from ollama_jupyter.api.types import Message, ToolProperty
from ollama_jupyter.prompt.renderers.qwen_vl import render_qwen_vl, render_qwen_vl_thinking
from tests.prompt.renderers.conversation import call, says, shows, tool

EYE = "<|vision_start|><|image_pad|><|vision_end|>"
ASK = "<|im_start|>user\nq<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"


def test_tools_join_the_system_turn() -> None:
    offered = [tool("f", "d", x=ToolProperty(type="string")), tool("g")]
    alone = render_qwen_vl([says("user", "q")], offered, None, True)
    assert alone.startswith("<|im_start|>system\n# Tools\n\nYou may call")
    assert (
        '<tools>\n{"type": "function", "function": {"name": "f", "description": "d", "parameters":'
        ' {"type": "object", "properties": {"x": {"type": "string"}}}}}\n{"type": "function", '
    ) in alone
    assert alone.endswith(f"</tool_call><|im_end|>\n{ASK}{ANSWER}")
    told = render_qwen_vl([says("system", "Be."), says("user", "q")], offered, None, True)
    assert told == alone.replace("system\n# Tools", "system\nBe.\n\n# Tools")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], ANSWER),
        (
            [says("user", "q"), says("system", "s")],
            f"{ASK}<|im_start|>system\ns<|im_end|>\n{ANSWER}",
        ),
        (
            [says("tool", "1"), says("tool", "2"), says("user", "q")],
            "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n"
            f"</tool_response><|im_end|>\n{ASK}{ANSWER}",
        ),
        (
            [says("user", "q"), says("assistant", "", call("f", b="é", a=[1]))],
            f'{ASK}{ANSWER}<tool_call>\n{{"name": "f", "arguments": {{"b": "é", "a": [1]}}}}\n'
            "</tool_call>",
        ),
    ],
)
def test_turns_are_marked(messages: list[Message], expected: str) -> None:
    assert render_qwen_vl(messages, [], None, True) == expected


def test_images_are_numbered_over_all_messages() -> None:
    messages = [shows("a", 2), says("assistant", "b"), shows("c [img]", 1)]
    tagged = render_qwen_vl(messages, [], None, True)
    assert "user\n[img-0][img-1] a<" in tagged
    assert "user\nc [img-2]<" in tagged
    plain = render_qwen_vl(messages, [], None, False)
    assert f"user\n{EYE}{EYE}a<" in plain
    assert f"user\n{EYE}c [img]<" in plain


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([says("user", "q")], f"{ASK}{ANSWER}<think>\n"),
        (
            [says("user", "q"), says("assistant", "\nr", thinking="\nt\n")],
            f"{ASK}{ANSWER}<think>\nt\n</think>\n\nr",
        ),
        ([says("user", "q"), says("assistant", thinking="t")], f"{ASK}{ANSWER}<think>\nt"),
        ([says("user", "q"), says("assistant", "r")], f"{ASK}{ANSWER}<think>\n\n</think>\n\nr"),
        (
            [says("user", "q"), says("assistant", "r", thinking="t"), says("user", "q")],
            f"{ASK}{ANSWER}r<|im_end|>\n{ASK}{ANSWER}<think>\n",
        ),
        (
            [
                says("user", "q"),
                says("assistant", "r", thinking="t"),
                says("user", "<tool_response>1</tool_response>"),
                says("assistant", "u"),
                says("tool", "2"),
            ],
            f"{ASK}{ANSWER}<think>\nt\n</think>\n\nr<|im_end|>\n"
            "<|im_start|>user\n<tool_response>1</tool_response><|im_end|>\n"
            f"{ANSWER}u<|im_end|>\n"
            f"<|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n{ANSWER}<think>\n",
        ),
        ([says("assistant", "r", thinking="t")], f"{ANSWER}r"),
    ],
)
def test_thoughts_stay_after_the_last_question(messages: list[Message], expected: str) -> None:
    assert render_qwen_vl_thinking(messages, [], None, True) == expected
