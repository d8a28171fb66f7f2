import json
import time
from array import array
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.model_types import ModelDetails, ShowResponse
from ollama_jupyter.api.native import (
    encode,
    encode_error,
    local_timestamp,
    timestamp,
    to_json,
)
from ollama_jupyter.api.types import (
    ChatChunk,
    EmbedResponse,
    GenerateChunk,
    Logprob,
    Message,
    ReplyMessage,
    StatusRecord,
    Tool,
    ToolCall,
    ToolCallFunction,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)

CALL = ToolCall(function=ToolCallFunction(name="f", arguments={"id": "", "b": [], "a": None}))
CALL_JSON = '{"function":{"index":0,"name":"f","arguments":{"id":"","b":[],"a":null}}}'


def chat_chunk(**fields: object) -> ChatChunk:
    message = ReplyMessage(role="assistant", content="")
    values = {"model": "m", "created_at": "t", "message": message, "done": False, **fields}
    return ChatChunk(**values)  # type: ignore[arg-type]  # a mapping of mixed values


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("<b>&", "\\u003cb\\u003e\\u0026"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("é😀\x7f", "é😀\x7f"),
        ('\n\r\t\b\f\x1b\x00"\\', '\\n\\r\\t\\b\\f\\u001b\\u0000\\"\\\\'),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_encode_escapes_as_go_does(text: str, encoded: str) -> None:
    assert encode(text).decode() == f'"{encoded}"'
    assert encode(StatusRecord(status=text)).decode() == f'{{"status":"{encoded}"}}'
    assert encode({text: [text]}).decode() == f'{{"{encoded}":["{encoded}"]}}'


@given(st.text())
def test_encode_gives_one_line_that_reads_back(text: str) -> None:
    line = encode({"a": text})
    assert json.loads(line) == {"a": text}
    assert len(line.splitlines()) == 1
    assert not set(b"<>&") & set(line)


def test_encode_error_is_an_object_with_the_message() -> None:
    assert encode_error('no "x"') == b'{"error":"no \\"x\\""}'


def test_encode_keeps_the_order_and_omissions_of_a_chunk() -> None:
    chunk = chat_chunk(done=True, done_reason="stop", eval_count=3)
    assert encode(chunk).decode() == (
        '{"model":"m","created_at":"t","message":{"role":"assistant","content":""},'
        '"done":true,"done_reason":"stop","eval_count":3}'
    )


def test_encode_writes_tool_calls_without_an_empty_id() -> None:
    message = ReplyMessage(role="assistant", content="x", tool_calls=(CALL,))
    assert encode(chat_chunk(message=message)).decode() == (
        '{"model":"m","created_at":"t","message":{"role":"assistant","content":"x",'
        f'"tool_calls":[{CALL_JSON}]}},"done":false}}'
    )
    chunk = GenerateChunk(model="m", created_at="t", response="", done=True, tool_calls=(CALL,))
    assert encode(chunk).decode() == (
        f'{{"model":"m","created_at":"t","response":"","done":true,"tool_calls":[{CALL_JSON}]}}'
    )
    plain = GenerateChunk(model="m", created_at="t", response="a", done=False)
    assert encode(plain) == b'{"model":"m","created_at":"t","response":"a","done":false}'


def test_encode_agrees_with_msgspec_on_what_is_omitted() -> None:
    logprob = Logprob(token="a", logprob=-0.5, bytes=(97,))
    message = ReplyMessage(role="assistant", content="", tool_calls=(ToolCall(id="c"),))
    chunk = chat_chunk(message=message, logprobs=(logprob,), eval_count=1, total_duration=5)
    assert to_json(chunk) == json.loads(msgspec.json.encode(chunk))


@pytest.mark.parametrize(
    ("record", "encoded"),
    [
        (Message(), '{"role":"","content":""}'),
        (Message(role="user", images=(b"abc",)), '{"role":"user","content":"","images":["YWJj"]}'),
        (
            Message(role="tool", tool_name="f", tool_call_id="c"),
            '{"role":"tool","content":"","tool_name":"f","tool_call_id":"c"}',
        ),
        (CALL, CALL_JSON),
        (ToolCall(id="c"), '{"id":"c","function":{"index":0,"name":"","arguments":{}}}'),
        (ToolProperty(type=()), '{"type":[]}'),
        (ToolProperty(type=("a", "b"), enum=(1,)), '{"type":["a","b"],"enum":[1]}'),
        (
            Tool(type="function", function=ToolFunction(name="f")),
            '{"type":"function","function":{"name":"f","parameters":{"type":"","properties":null}}}',
        ),
        (
            ToolParameters(
                type="object",
                defs={"d": 1},
                required=("a",),
                properties={"a": ToolProperty(any_of=(ToolProperty(type="null"),))},
            ),
            '{"type":"object","$defs":{"d":1},"required":["a"],'
            '"properties":{"a":{"anyOf":[{"type":"null"}]}}}',
        ),
    ],
)
def test_encode_omits_what_is_empty(record: msgspec.Struct, encoded: str) -> None:
    assert encode(record).decode() == encoded


def test_encode_sorts_the_keys_of_model_info() -> None:
    details = ModelDetails(
        parent_model="", format="gguf", family="", families=None, parameter_size="",
        quantization_level="",
    )  # fmt: skip
    record = ShowResponse(
        details=details, modified_at="t", model_info={"b": 1, "a": {"z": 1}},
        projector_info={"d": 1, "c": 2},
    )  # fmt: skip
    line = encode(record).decode()
    assert '"model_info":{"a":{"z":1},"b":1},"projector_info":{"c":2,"d":1}' in line
    assert '"families":null' in line


@pytest.mark.parametrize(
    ("single", "text"),
    [
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (0.0, "0"),
        (-1e-7, "-1e-7"),
        (0.00001234, "0.00001234"),
        (1e-6, "0.000001"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (16777216.0, "16777216"),
        (1234567.0, "1234567"),
    ],
)
def test_encode_writes_a_vector_in_few_digits(single: float, text: str) -> None:
    vector = array("f", [single, 1.0]).tolist()
    record = EmbedResponse(model="m", embeddings=[vector, []], prompt_eval_count=2)
    assert encode(record).decode() == (
        f'{{"model":"m","embeddings":[[{text},1],[]],"prompt_eval_count":2}}'
    )


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_encode_writes_vectors_that_read_back(vector: list[float]) -> None:
    line = encode(EmbedResponse(model="m", embeddings=[vector]))
    read = json.loads(line)["embeddings"][0]
    assert array("f", read) == array("f", vector)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_123_456_000, "2023-11-14T22:13:20.123456Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        (1_700_000_000_100_000_000, "2023-11-14T22:13:20.1Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_timestamp_is_utc_with_trimmed_fractions(ns: int, text: str) -> None:
    assert timestamp(ns) == text


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as context:
        yield context
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC0", "2023-11-14T22:13:20Z"),
        ("TST-5:30", "2023-11-15T03:43:20+05:30"),
        ("TST3:30", "2023-11-14T18:43:20-03:30"),
    ],
)
def test_local_timestamp_has_the_offset(set_zone: pytest.MonkeyPatch, zone: str, text: str) -> None:
    set_zone.setenv("TZ", zone)
    time.tzset()
    assert local_timestamp(1_700_000_000_000_000_000) == text
