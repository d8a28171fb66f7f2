import pytest

from ollama_jupyter.api.types import JSON, Message, Think
from ollama_jupyter.inference.output.families import parser_named
from tests.inference.output.families.parsing import Result, parse

_JSON_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
_CODER_CALL = (
    "<tool_call>\n<function=weather>\n<parameter=city>\nKöln\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
)
_PAIRS = "<arg_key>city</arg_key>\n<arg_value>Köln</arg_value>"
_DEEP_CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>"
    '{"city": "Köln"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)
_GEMMA_CALL = '<|tool_call>call:weather{city:<|"|>Köln<|"|>}<tool_call|>'
_SMALL_GEMMA_CALL = (
    "<start_function_call>call:weather{city:<escape>Köln<escape>,days:3}<end_function_call>"
)
_LFM_CALLS = "<|tool_call_start|>[weather(city='Köln'), weather(city='Köln')]<|tool_call_end|>"
_LFM_JSON = (
    '<|tool_call_start|>[{"name": "weather", "arguments": {"city": "Köln"}}]<|tool_call_end|>'
)
_OLMO_CALLS = (
    "<function_calls>weather(city='Köln')\nweather(city=\"Köln\", days=3)</function_calls>"
)
_TOOL_OUTPUT = "<｜tool▁output▁begin｜>c<｜tool▁output▁end｜>"
_MINISTRAL_CALL = '[TOOL_CALLS]weather[ARGS] {"city": "Köln"}'
_COHERE_CALL = (
    '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "weather",'
    ' "parameters": {"city": "Köln"}}]<|END_ACTION|>'
)
_CITY: JSON = {"city": "Köln"}
_CALL = ("weather", _CITY)
_DAYS = ("weather", {"city": "Köln", "days": 3})

# Replies that come out the same however they arrive.
_GOLDEN: dict[str, tuple[str, str, Think | None, Result]] = {
    "qwen3": (
        "qwen3",
        f"Yes. \n{_JSON_CALL}\n{_JSON_CALL}\nEnd < 1\n",
        None,
        ("Yes.End < 1\n", "", [_CALL] * 2),
    ),
    "qwen3 thinks": ("qwen3-thinking", "\n a </b> \n</think>\n\nB", None, ("B", "a </b>", [])),
    "qwen3 opens again": ("qwen3-thinking", "<think>\na</think>B", False, ("B", "a", [])),
    "qwen3 calls while thinking": (
        "qwen3-vl-thinking",
        f"a\n{_JSON_CALL}",
        True,
        ("", "a", [_CALL]),
    ),
    "coder": ("qwen3-coder", f"Yes.\n{_CODER_CALL}", None, ("Yes.", "", [_DAYS])),
    "qwen3.5": ("qwen3.5", f"a</think>\n{_CODER_CALL}", None, ("", "a", [_DAYS])),
    "nemotron": ("nemotron-3-nano", f"a</think>{_CODER_CALL}", None, ("", "a", [_DAYS])),
    "glm": (
        "glm-4.7",
        f"a</think>b<tool_call>weather\n{_PAIRS}\n</tool_call>",
        None,
        ("b", "a", [_CALL]),
    ),
    "glm-ocr": ("glm-ocr", f"<tool_call>weather{_PAIRS}</tool_call>", None, ("", "", [_CALL])),
    "laguna": (
        "laguna",
        f"<think>a</think>b{_JSON_CALL}<tool_call>weather{_PAIRS}</tool_call>",
        True,
        ("b", "a", [_CALL] * 2),
    ),
    "gemma": ("gemma4", f"<|channel>thought\na<channel|>b{_GEMMA_CALL}", True, ("b", "a", [_CALL])),
    "gemma without label": ("gemma4", "<|channel>thin<channel|>b", True, ("b", "thin", [])),
    "functiongemma": ("functiongemma", f"a <b> {_SMALL_GEMMA_CALL}", None, ("a <b>", "", [_DAYS])),
    "olmo": ("olmo3", f"a{_OLMO_CALLS}", None, ("a", "", [_CALL, _DAYS])),
    "olmo thinks": ("olmo3-think", "a</think>b", None, ("b", "a", [])),
    "lfm": ("lfm2-thinking", f" <think> a </think>b{_LFM_CALLS}", True, ("b", "a", [_CALL] * 2)),
    "lfm as JSON": ("lfm2", _LFM_JSON, None, ("", "", [_CALL])),
    "deepseek": (
        "deepseek3",
        f"a</think>b {_TOOL_OUTPUT}{_DEEP_CALL} d",
        True,
        ("b c d", "a", [_CALL]),
    ),
    "cogito thinks": ("cogito", "a </think> b</think>", True, ("b</think>", "a", [])),
    "ministral": (
        "ministral",
        f"a[THINK]b[/THINK]c{_MINISTRAL_CALL}{_MINISTRAL_CALL}",
        None,
        ("ac", "b", [_CALL] * 2),
    ),
    "cohere": (
        "cohere",
        f"<|START_THINKING|>a<|END_THINKING|>{_COHERE_CALL}<|START_TEXT|>b<|END_TEXT|>",
        True,
        ("b", "a", [_CALL]),
    ),
    "passthrough": ("passthrough", "<think>a</think> ", True, ("<think>a</think> ", "", [])),
}


@pytest.mark.parametrize("title", _GOLDEN)
def test_reply_is_the_same_wherever_it_is_split(title: str) -> None:
    name, text, think, result = _GOLDEN[title]
    for at in range(len(text) + 1):
        assert parse(name, text[:at], text[at:], think=think) == result, (text[:at], text[at:])
    assert parse(name, *text, "", think=think) == result


@pytest.mark.parametrize(
    ("name", "text", "think", "result"),
    [
        ("qwen3.5", "a</think>b", False, ("a</think>b", "", [])),
        ("deepseek3", "a</think>b", None, ("a</think>b", "", [])),
        ("laguna", "<think>a</think>b", None, ("<think>a</think>b", "", [])),
        ("laguna", "b<think>", True, ("b<think>", "", [])),
        ("gemma4", "a<|channel>thought\nb<channel|>c", False, ("ac", "", [])),
        ("gemma4", "a<|channel>thought\nb<channel|>c", None, ("ac", "b", [])),
        ("gemma4-no-thinking", "<|channel>", True, ("<|channel>", "", [])),
        ("ministral", "[THINK]a[/THINK]b", False, ("b", "a", [])),
        ("deepseek3", "a", "high", ("", "a", [])),
    ],
)
def test_think_decides_whether_there_is_thinking(
    name: str, text: str, think: Think | None, result: Result
) -> None:
    assert parse(name, text, think=think) == result


@pytest.mark.parametrize(
    ("last", "result"),
    [
        (Message(role="user", content="a"), ("", "b", [])),
        (Message(role="assistant"), ("", "b", [])),
        (Message(role="assistant", thinking="t"), ("", "b", [])),
        (Message(role="assistant", content="a"), ("b", "", [])),
    ],
)
def test_reply_that_has_content_already_is_past_its_thinking(last: Message, result: Result) -> None:
    assert parse("deepseek3", "b", think=True, last=last) == result


@pytest.mark.parametrize(
    ("name", "text", "result"),
    [
        ("qwen3-thinking", "<thi", ("", "<thi", [])),
        ("qwen3-thinking", "a</thi", ("", "a</thi", [])),
        ("qwen3-thinking", "a</think> <tool", ("<tool", "a", [])),
        ("qwen3", "a <tool_", ("a <tool_", "", [])),
        ("lfm2-thinking", "<th", ("<th", "", [])),
        ("gemma4", "<|channel>tho", ("", "tho", [])),
        ("olmo3", "<function_calls>weather(city='Köln')", ("", "", [_CALL])),
        ("olmo3", "<function_calls>weather(city=", ("", "", [])),
        ("qwen3-coder", _CODER_CALL.removesuffix("\n</function>\n</tool_call>"), ("", "", [_DAYS])),
        ("gemma4", '<|tool_call>call:weather{city:<|"|>Köln}}', ("", "", [_CALL])),
        ("ministral", '[TOOL_CALLS]weather[ARGS]{"city"', ("", "", [])),
    ],
)  # fmt: skip
def test_end_lets_go_of_what_was_held_back(name: str, text: str, result: Result) -> None:
    assert parse(name, text, think=True) == result
    assert parse(name, text, "", think=True) == result


def test_content_is_given_as_soon_as_it_is_certain() -> None:
    parser = parser_named("qwen3")
    assert parser is not None
    parser.init((), None, None)
    steps = [parser.add(chunk, False)[0] for chunk in ("a ", "b <tool", "x", " \n", _JSON_CALL)]
    assert steps == ["a", " b", " <toolx", "", ""]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen3", "<tool_call>{</tool_call>"),
        ("qwen3", '<tool_call>{"arguments": {}}</tool_call>'),
        ("qwen3", '<tool_call>{"name": "a", "arguments": 1}</tool_call>'),
        ("qwen3", "<tool_call>1</tool_call>"),
        ("qwen3-coder", "<tool_call>weather</tool_call>"),
        ("glm-4.7", f"</think><tool_call>{_PAIRS}</tool_call>"),
        ("functiongemma", "<start_function_call>call:weather<end_function_call>"),
        ("functiongemma", "<start_function_call>call:{}<end_function_call>"),
        ("olmo3", "<function_calls>weather</function_calls>"),
        ("olmo3", "<function_calls>(1)</function_calls>"),
        ("ministral", "[TOOL_CALLS]{}"),
        ("ministral", "[TOOL_CALLS][ARGS]{}"),
        ("deepseek3", _DEEP_CALL.replace('"}', "")),
        ("olmo3", f"<function_calls>f(a={'[' * 5000})</function_calls>"),
    ],
)
def test_what_cannot_be_read_as_a_call_is_dropped(name: str, text: str) -> None:
    assert parse(name, f"a{text}" if "think" not in text else text)[2] == []


def test_arguments_may_be_json_in_a_string_or_missing() -> None:
    text = '<tool_call>{"name": "a", "arguments": "{\\"b\\": 1}"}</tool_call>'
    assert parse("qwen3", text)[2] == [("a", {"b": 1})]
    assert parse("qwen3", '<tool_call>{"name": "a"}</tool_call>')[2] == [("a", {})]


def test_cogito_reads_fenced_calls_and_drops_tool_outputs() -> None:
    call = (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
        '```json\n{"city": "Köln"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
    )
    outputs = "<｜tool▁outputs▁begin｜>x<｜tool▁outputs▁end｜>"
    assert parse("cogito", f"a{outputs}b{call}") == ("ab", "", [_CALL])


@pytest.mark.parametrize(
    ("name", "has_tools", "has_thinking"),
    [
        ("harmony", True, True),
        ("qwen3", True, False),
        ("qwen3-thinking", True, True),
        ("olmo3-think", False, True),
        ("passthrough", False, False),
        ("cogito", True, True),
    ],
)
def test_parser_knows_what_its_family_can(name: str, has_tools: bool, has_thinking: bool) -> None:
    parser = parser_named(name)
    assert parser is not None
    assert (parser.has_tools, parser.has_thinking) == (has_tools, has_thinking)


def test_parser_named_gives_nothing_for_an_unknown_name() -> None:
    assert parser_named("llama") is None


def test_parser_named_gives_a_new_parser_each_time() -> None:
    assert parser_named("qwen3") is not parser_named("qwen3")
