import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.decode import decode
from ollama_jupyter.api.types import (
    ChatRequest,
    CreateRequest,
    EmbeddingRequest,
    EmbedRequest,
    GenerateRequest,
    Message,
    PullRequest,
    ToolCall,
    ToolCallFunction,
    ToolProperty,
)
from ollama_jupyter.errors import BadRequest


def refusal(struct_type: type[msgspec.Struct], body: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        decode(struct_type, body)
    return str(caught.value)


@pytest.mark.parametrize("body", [b"", b" ", b" \r\n\t"])
def test_decode_asks_for_a_body(body: bytes) -> None:
    assert refusal(ChatRequest, body) == "missing request body"


def test_decode_takes_null_for_an_empty_request() -> None:
    assert decode(GenerateRequest, b" null") == GenerateRequest()


def test_decode_ignores_what_follows_the_first_value() -> None:
    assert decode(ChatRequest, b'{"model":"m"} } trailing \xff').model == "m"


def test_decode_ignores_unknown_fields() -> None:
    assert decode(ChatRequest, b'{"model":"m","modle":1,"Name":{}}') == ChatRequest(model="m")


@pytest.mark.parametrize("key", ["model", "MODEL", "Model", "mOdel"])
def test_decode_matches_names_in_any_case(key: str) -> None:
    assert decode(ChatRequest, json.dumps({key: "m"}).encode()).model == "m"


def test_decode_lets_the_last_spelling_win() -> None:
    assert decode(ChatRequest, b'{"MODEL":"a","model":"b"}').model == "b"
    assert decode(ChatRequest, b'{"model":"a","MODEL":"b"}').model == "b"
    assert decode(ChatRequest, b'{"model":"a","model":"b"}').model == "b"


def test_decode_matches_names_in_any_case_at_every_level_but_in_mappings() -> None:
    body = b"""{"Messages":[{"ROLE":"user","Tool_Calls":[{"FUNCTION":
        {"Name":"f","Arguments":{"City":"x","city":"y"}}}]}],"OPTIONS":{"Num_Ctx":1}}"""
    request = decode(ChatRequest, body)
    function = ToolCallFunction(name="f", arguments={"City": "x", "city": "y"})
    assert request.messages == (Message(role="user", tool_calls=(ToolCall(function=function),)),)
    assert request.options == {"Num_Ctx": 1}


def test_decode_leaves_null_fields_at_their_defaults() -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(ChatRequest)]
    assert decode(ChatRequest, json.dumps(dict.fromkeys(fields)).encode()) == ChatRequest()


def test_decode_makes_null_elements_zero_values() -> None:
    body = b'{"messages":[null,{"images":[null],"tool_calls":[null]}]}'
    messages = decode(ChatRequest, body).messages
    assert messages == (Message(), Message(images=(b"",), tool_calls=(ToolCall(),)))
    assert decode(GenerateRequest, b'{"context":[1,null]}').context == (1, 0)
    assert decode(GenerateRequest, b'{"context":[2,1]}').context == (2, 1)
    assert decode(CreateRequest, b'{"files":{"a":null}}').files == {"a": ""}


def test_decode_reads_images_and_lowers_roles() -> None:
    message = decode(Message, b'{"role":"USER","images":["YWJj"]}')
    assert message == Message(role="user", images=(b"abc",))
    assert refusal(Message, b'{"images":["YWJ"]}') == "illegal base64 data at input byte 0"


@pytest.mark.parametrize(
    ("sent", "held"),
    [
        ('"string"', "string"),
        ('["string"]', "string"),
        ('["string","null"]', ("string", "null")),
        ("[]", ()),
        ("null", ""),
    ],
)
def test_decode_unwraps_one_property_type(sent: str, held: object) -> None:
    assert decode(ToolProperty, f'{{"type":{sent}}}'.encode()).type == held


def test_decode_reads_nested_properties() -> None:
    body = b'{"properties":{"A":{"ANYOF":[{"type":"null"}],"enum":[1,"x"],"items":{"Type":1}}}}'
    inner = ToolProperty(any_of=(ToolProperty(type="null"),), enum=(1, "x"), items={"Type": 1})
    assert decode(ToolProperty, body).properties == {"A": inner}


@pytest.mark.parametrize(
    ("body", "quantize"),
    [
        (b'{"quantize":"a","quantization":"b"}', "a"),
        (b'{"quantization":"b","quantize":"a"}', "a"),
        (b'{"quantize":"","Quantization":"b"}', "b"),
        (b'{"quantization":"b"}', "b"),
    ],
)
def test_decode_knows_an_older_name(body: bytes, quantize: str) -> None:
    assert decode(CreateRequest, body).quantize == quantize


@pytest.mark.parametrize("think", [True, False, "low", "medium", "high", "max"])
def test_decode_reads_think(think: object) -> None:
    body = json.dumps({"think": think}).encode()
    assert decode(GenerateRequest, body).think == think
    assert decode(ChatRequest, body).think == think


def test_decode_refuses_other_think_values() -> None:
    choice = '"high", "medium", "low", "max", true, or false'
    invalid = f'invalid think value: "hi" (must be {choice})'
    assert refusal(GenerateRequest, b'{"think":"hi"}') == invalid
    assert refusal(ChatRequest, b'{"think":1}') == f"think must be a boolean or string ({choice})"


@pytest.mark.parametrize("struct", [GenerateRequest, ChatRequest, EmbedRequest, EmbeddingRequest])
def test_decode_checks_keep_alive(struct: type[Any]) -> None:
    assert decode(struct, b'{"keep_alive":"5m"}').keep_alive == "5m"
    assert refusal(struct, b'{"keep_alive":"5"}') == 'time: missing unit in duration "5"'
    assert refusal(struct, b'{"keep_alive":true}') == "Unsupported type: 'bool'"


FIELD = "Go struct field ChatRequest"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "array into Go value of type api.ChatRequest"),
        (b'"x"', "string into Go value of type api.ChatRequest"),
        (b"5x", "number into Go value of type api.ChatRequest"),
        (b"true", "bool into Go value of type api.ChatRequest"),
        (b'{"model":5}', f"number into {FIELD}.model of type string"),
        (b'{"MODEL":5.5}', f"number into {FIELD}.model of type string"),
        (b'{"stream":"yes"}', f"string into {FIELD}.stream of type bool"),
        (b'{"logprobs":1}', f"number into {FIELD}.logprobs of type bool"),
        (b'{"top_logprobs":"1"}', f"string into {FIELD}.top_logprobs of type int"),
        (b'{"top_logprobs":1.5}', f"number 1.5 into {FIELD}.top_logprobs of type int"),
        (b'{"top_logprobs":true}', f"bool into {FIELD}.top_logprobs of type int"),
        (b'{"options":[]}', f"array into {FIELD}.options of type map[string]interface {{}}"),
        (b'{"messages":{}}', f"object into {FIELD}.messages of type []api.Message"),
        (b'{"messages":["x"]}', f"string into {FIELD}.messages of type api.Message"),
        (b'{"messages":[{"role":1}]}', f"number into {FIELD}.messages.role of type string"),
        (b'{"messages":[{"images":[1]}]}', f"number into {FIELD}.messages.images of type "
         "api.ImageData"),
        (b'{"tools":[{"function":{"parameters":{"properties":{"a":{"type":5}}}}}]}',
         f"number into {FIELD}.tools.function.parameters.properties.type of type []string"),
    ],
)  # fmt: skip
def test_decode_words_a_wrong_type(body: bytes, message: str) -> None:
    assert refusal(ChatRequest, body) == f"json: cannot unmarshal {message}"


@pytest.mark.parametrize("last", ["9223372036854775808", "1.5", "true", '"1"'])
def test_decode_looks_at_every_integer_of_a_list(last: str) -> None:
    assert "GenerateRequest.context of type int" in refusal(
        GenerateRequest, f'{{"context":[1,2,{last}]}}'.encode()
    )


def test_decode_names_the_first_fault_in_the_text() -> None:
    assert "logprobs of type bool" in refusal(ChatRequest, b'{"logprobs":1,"model":2}')
    assert "model of type string" in refusal(ChatRequest, b'{"model":2,"logprobs":1}')


def test_decode_calls_the_request_what_it_is_told() -> None:
    with pytest.raises(BadRequest, match=r"field PushRequest\.insecure of type bool"):
        decode(PullRequest, b'{"insecure":1}', struct_name="PushRequest")


def test_decode_refuses_an_integer_beyond_int64() -> None:
    message = refusal(ChatRequest, b'{"top_logprobs":9223372036854775808}')
    assert message.endswith(
        "number 9223372036854775808 into " + FIELD + ".top_logprobs of type int"
    )
    assert decode(ChatRequest, b'{"top_logprobs":-9223372036854775808}').top_logprobs == -(2**63)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b'{"a"}', "invalid character '}' after object key"),
        (b'{"model":"m"', "unexpected EOF"),
        (b'{"options":{"a":NaN}}', "invalid character 'N' looking for beginning of value"),
        (b'{"options":{"a":-Infinity}}', "invalid character 'I' in numeric literal"),
        (b'{"a":"\x00"}', "invalid character '\\x00' in string literal"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value"),
        (b'{"options":{"a":1e999}}', "json: cannot unmarshal number 1e999 into Go value of type"
         " float64"),
    ],
)  # fmt: skip
def test_decode_words_bad_json(body: bytes, message: str) -> None:
    assert refusal(ChatRequest, body) == message


@given(st.binary())
def test_decode_gives_a_request_or_bad_request(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(decode(ChatRequest, body), ChatRequest)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = [field.encode_name for field in msgspec.structs.fields(ChatRequest)]


@given(st.dictionaries(st.sampled_from(fields), json_values))
def test_decode_gives_typed_fields_or_bad_request(value: dict[str, object]) -> None:
    try:
        request = decode(ChatRequest, json.dumps(value).encode())
    except BadRequest:
        return
    assert msgspec.convert(msgspec.to_builtins(request), ChatRequest) == request


class Other(msgspec.Struct):
    """Shapes that other dialects have and the native one does not."""

    name: str
    size: int
    flag: bool
    ratio: float
    data: bytes
    more: dict[str, int]
    entries: list[str]
    pair: tuple[int, ...]
    inner: Message
    content: str | list[Message] | None
    mixed: list[str | Message] = []


def test_decode_makes_zero_values_of_required_fields() -> None:
    assert decode(Other, b"{}") == Other("", 0, False, 0.0, b"", {}, [], (), Message(), None)


def test_decode_chooses_among_the_types_of_a_union() -> None:
    assert decode(Other, b'{"content":"x"}').content == "x"
    assert decode(Other, b'{"content":[{"role":"A"}]}').content == [Message(role="a")]
    assert decode(Other, b'{"mixed":["x",{"role":"A"}]}').mixed == ["x", Message(role="a")]
    assert "Other.mixed of type []string" in refusal(Other, b'{"mixed":{}}')
    assert "Other.content of type []api.Message" in refusal(Other, b'{"content":5}')
    assert decode(Other, b'{"ratio":1}').ratio == 1
    assert "Other.ratio of type float64" in refusal(Other, b'{"ratio":"1"}')
