import msgspec
import pytest

from ollama_jupyter.api.types import JSON, Message, Tool, ToolFunction
from ollama_jupyter.errors import RunnerError
from ollama_jupyter.inference.output.harmony import (
    Content,
    End,
    Event,
    FunctionNames,
    HarmonyParser,
    HarmonyStream,
    Header,
    Start,
    identifier_for,
    parse_header,
)

_REPLY = (
    "<|channel|>analysis<|message|>Let me < think.<|end|>"
    "<|start|>assistant<|channel|>commentary<|message|>I will look it up.<|end|>"
    "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    '{"city": "Köln"}'
)


def _parser(*names: str, last: Message | None = None) -> HarmonyParser:
    parser = HarmonyParser()
    parser.init([Tool(function=ToolFunction(name=name)) for name in names], last, None)
    return parser


def _parse(parser: HarmonyParser, *chunks: str) -> tuple[str, str, list[tuple[str, JSON]]]:
    parsed = [parser.add(chunk, at == len(chunks) - 1) for at, chunk in enumerate(chunks)]
    return (
        "".join(content for content, _, _ in parsed),
        "".join(thinking for _, thinking, _ in parsed),
        [(call.function.name, call.function.arguments) for _, _, calls in parsed for call in calls],
    )


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("", Header()),
        ("user", Header(role="user")),
        (
            "to=python<|channel|>analysis",
            Header(role="tool", channel="analysis", recipient="python"),
        ),
        ("a<|channel|>b to=c", Header(role="a", channel="b", recipient="c")),
        ("a to=c<|channel|>b<|constrain|>json", Header(role="a", channel="b", recipient="c")),
        ("a<|channel|> to=c", Header(role="a", recipient="c")),
        ("a x to=c", Header(role="a")),
    ],
)
def test_parse_header_tells_role_channel_and_recipient(text: str, header: Header) -> None:
    assert parse_header(text) == header


def test_feed_gives_what_is_certain() -> None:
    stream = HarmonyStream()
    chunks = ("noise<|sta", "rt|>us", "er<|message|>a<", "b<|en", "d|>noise", "<|start|>")
    events: list[list[Event]] = [stream.feed(chunk) for chunk in chunks]
    assert events == [
        [],
        [Start()],
        [Header(role="user"), Content("a")],
        [Content("<b")],
        [End()],
        [Start()],
    ]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("<|start|>a<|message|>b<|e", [Content("<|e")]),
        ("<|start|>a<|message|>b", []),
        ("<|start|>a<|mess", []),
        ("<|sta", []),
    ],
)
def test_finish_gives_the_end_of_an_open_body(text: str, events: list[Event]) -> None:
    stream = HarmonyStream()
    stream.feed(text)
    assert stream.finish() == events
    assert stream.finish() == []


def test_events_say_their_type_when_written_as_json() -> None:
    assert msgspec.to_builtins(Content("a")) == {"type": "content", "text": "a"}
    assert msgspec.to_builtins(Start()) == {"type": "start"}


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("get weather.now-ish", "get_weather_now_ish"),
        ("$a_1", "$a_1"),
        ("1a", "_1a"),
        ("٣a", "_٣a"),
        ("a²b", "ab"),
        ("!?", "unnamed"),
        ("", "unnamed"),
        ("browser.find", "browser.find"),
    ],
)
def test_identifier_for_keeps_what_an_identifier_may_have(name: str, identifier: str) -> None:
    assert identifier_for(name) == identifier


def test_names_lead_back_to_their_originals() -> None:
    names = FunctionNames()
    assert [names.add(name) for name in ("a_2", "a", "a", "a")] == ["a_2", "a", "a_3", "a_4"]
    assert [names.original(name) for name in ("a_2", "a_3", "b")] == ["a_2", "a", "b"]


@pytest.mark.parametrize("at", range(len(_REPLY) + 1))
def test_reply_is_the_same_wherever_it_is_split(at: int) -> None:
    assert _parse(_parser("get-weather"), _REPLY[:at], _REPLY[at:]) == (
        "I will look it up.",
        "Let me < think.",
        [("get-weather", {"city": "Köln"})],
    )


def test_init_gives_the_tools_under_their_new_names() -> None:
    tools = [Tool(function=ToolFunction(name=name, description="d")) for name in ("a-b", "a b")]
    shown = HarmonyParser().init(tools, None, True)
    assert [tool.function.name for tool in shown] == ["a_b", "a_b_2"]
    assert shown[0].function.description == "d"


@pytest.mark.parametrize(
    ("last", "result"),
    [
        (None, ("", "", [])),
        (Message(role="user", content="a"), ("", "", [])),
        (Message(role="assistant", content="a", thinking="t"), ("b", "", [])),
        (Message(role="assistant", thinking="t"), ("", "b", [])),
        (Message(role="assistant"), ("", "", [])),
    ],
)
def test_reply_goes_on_where_the_assistant_began(
    last: Message | None, result: tuple[str, str, list[tuple[str, JSON]]]
) -> None:
    assert _parse(_parser(last=last), "b") == result


def test_final_channel_is_content_though_it_names_a_recipient() -> None:
    assert _parse(_parser(), "<|channel|>final to=user<|message|>a") == ("a", "", [])


def test_call_on_the_analysis_channel_is_a_call() -> None:
    result = _parse(_parser("python"), " to=python<|channel|>analysis<|message|>{}", "")
    assert result == ("", "", [("python", {})])


@pytest.mark.parametrize("body", ["{", "[]", "print(1)"])
def test_add_fails_when_arguments_are_no_object(body: str) -> None:
    parser = _parser("a")
    parser.add(f"<|channel|>commentary to=functions.a<|message|>{body}", False)
    with pytest.raises(RunnerError, match="error parsing tool call: raw="):
        parser.add("", True)


def test_facts_name_tools_and_thinking() -> None:
    assert HarmonyParser.has_tools
    assert HarmonyParser.has_thinking
