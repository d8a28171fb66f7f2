import msgspec
import pytest

from ollama_jupyter.api.types import JSON, Message, Tool, ToolFunction, ToolProperty
from ollama_jupyter.prompt.renderers.functiongemma import render_functiongemma
from tests.prompt.renderers.conversation import call, says, tool

ASK = "<start_of_turn>user\nq<end_of_turn>\n"
MODEL = "<start_of_turn>model\n"
CALL = "<start_function_call>call:f{}<end_function_call>"


def answer(name: str, content: str) -> str:
    return (
        f"<start_function_response>response:{name}{{<escape>{content}<escape>}}"
        "<end_function_response>"
    )


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], MODEL),
        ([says("system", " "), says("user", " q ")], f"{ASK}{MODEL}"),
        (
            [says("developer", "d"), says("user", "q")],
            f"<start_of_turn>developer\nd<end_of_turn>\n{ASK}{MODEL}",
        ),
        (
            [says("user", "q"), says("assistant", "a"), says("user", "q")],
            f"{ASK}{MODEL}a<end_of_turn>\n{ASK}{MODEL}",
        ),
        (
            [says("user", "q"), says("assistant", "a", call("f")), says("tool", "1")],
            f"{ASK}{MODEL}a{CALL}{answer('f', '1')}",
        ),
        (
            [says("assistant", "", call("f")), says("tool", "1"), says("assistant", "a")],
            f"{MODEL}{CALL}{answer('f', '1')}a<end_of_turn>\n{MODEL}",
        ),
        (
            [says("assistant", "", call("f")), says("tool", "1"), says("user", "q")],
            f"{MODEL}{CALL}{answer('f', '1')}<end_of_turn>\n{ASK}{MODEL}",
        ),
        ([says("tool", "1")], answer("", "1")),
    ],
)
def test_turns_are_marked(messages: list[Message], expected: str) -> None:
    assert render_functiongemma(messages, [], None, True) == f"<bos>{expected}"


def test_responses_are_named_by_tool_name_then_id_then_order() -> None:
    asked = says("assistant", "", call("f", "1"), call("g", "2"), call("h", "3"))
    by_id = msgspec.structs.replace(says("tool", "B"), tool_call_id="1")
    by_name = msgspec.structs.replace(says("tool", "C"), tool_name="named", tool_call_id="1")
    unknown = msgspec.structs.replace(says("tool", "D"), tool_call_id="9")
    prompt = render_functiongemma([asked, by_name, by_id, unknown], [], None, True)
    assert prompt.endswith(answer("named", "C") + answer("f", "B") + answer("h", "D"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "<escape>a<escape>"),
        (1, "1"),
        (1.5, "1.5"),
        (False, "false"),
        (None, "null"),
        ([1, "b"], "[1,<escape>b<escape>]"),
        ({"z": 1, "a": "b"}, "{a:<escape>b<escape>,z:1}"),
    ],
)
def test_arguments_are_written_in_the_notation(value: JSON, expected: str) -> None:
    prompt = render_functiongemma([says("assistant", "", call("f", x=value))], [], None, True)
    assert prompt.endswith(f"call:f{{x:{expected}}}<end_function_call>")


def declared(offered: Tool) -> str:
    prompt = render_functiongemma([], [offered], None, True)
    return prompt.partition("declaration:")[2].partition("<end_function_declaration>")[0]


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (ToolProperty(), "description:<escape><escape>"),
        (
            ToolProperty(type=("null", "string"), description="d", enum=("u", 1)),
            "description:<escape>d<escape>,enum:[<escape>u<escape>,1],type:<escape>STRING<escape>",
        ),
        (
            ToolProperty(
                type="object", properties={"k": ToolProperty(type="number")}, required=("k",)
            ),
            "description:<escape><escape>,properties:{k:{description:<escape><escape>,"
            "type:<escape>NUMBER<escape>}},required:[<escape>k<escape>],"
            "type:<escape>OBJECT<escape>",
        ),
    ],
)
def test_declarations_describe_parameters(each: ToolProperty, expected: str) -> None:
    assert declared(tool("f", "d", x=each)) == (
        f"f{{description:<escape>d<escape>,parameters:{{properties:{{x:{{{expected}}}}},"
        "type:<escape>OBJECT<escape>}}"
    )


def test_declarations_leave_out_parameters_that_say_nothing() -> None:
    assert declared(Tool(function=ToolFunction(name="f"))) == "f{description:<escape><escape>}"


def test_declarations_follow_the_system_text() -> None:
    prompt = render_functiongemma([says("system", "s")], [tool("f")], None, True)
    assert prompt.startswith("<bos><start_of_turn>developer\ns\nYou can do function calling")
