from ollama_jupyter.api.framing import SSE_DONE, ndjson, sse
from ollama_jupyter.api.types import StatusRecord


def test_ndjson_ends_each_record_with_a_line_end() -> None:
    assert ndjson(StatusRecord(status="a\nb")) == b'{"status":"a\\nb"}\n'


def test_sse_puts_a_record_into_one_data_line() -> None:
    assert sse({"a": "b\nc"}) == b'data: {"a":"b\\nc"}\n\n'


def test_sse_names_its_event_when_it_has_one() -> None:
    assert sse({}, event="ping") == b"event: ping\ndata: {}\n\n"
    assert SSE_DONE == b"data: [DONE]\n\n"
