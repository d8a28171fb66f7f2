"""Calls are data: what each asks for, and what its body leaves out."""

import json

import pytest

from ollama_jupyter.api.types import (
    ChatRequest,
    CreateRequest,
    EmbedRequest,
    GenerateRequest,
    Message,
    ToolCall,
    ToolCallFunction,
)
from ollama_jupyter.client import calls
from ollama_jupyter.client.calls import Call
from ollama_jupyter.names import Digest

DIGEST = Digest("0" * 64)


def body(call: Call) -> object:
    encoded = call.encode_body()
    return None if encoded is None else json.loads(encoded)


@pytest.mark.parametrize(
    ("call", "method", "path", "expected"),
    [
        (calls.root(), "GET", "/", None),
        (calls.version(), "GET", "/api/version", None),
        (calls.ps(), "GET", "/api/ps", None),
        (calls.list_(), "GET", "/api/tags", None),
        (calls.show("m"), "POST", "/api/show", {"model": "m"}),
        (
            calls.show("m", system="s", verbose=True, options={"seed": 1}),
            "POST",
            "/api/show",
            {"model": "m", "system": "s", "verbose": True, "options": {"seed": 1}},
        ),
        (calls.copy("a", "b"), "POST", "/api/copy", {"source": "a", "destination": "b"}),
        (calls.delete("m"), "DELETE", "/api/delete", {"model": "m"}),
        (calls.load("m"), "POST", "/api/generate", {"model": "m", "stream": False}),
        (
            calls.unload("m"),
            "POST",
            "/api/generate",
            {"model": "m", "stream": False, "keep_alive": 0},
        ),
        (
            calls.embed(EmbedRequest(model="m", input=[])),
            "POST",
            "/api/embed",
            {"model": "m", "input": []},
        ),
        (calls.has_blob(DIGEST), "HEAD", f"/api/blobs/sha256:{'0' * 64}", None),
        (calls.upload_blob(DIGEST), "POST", f"/api/blobs/sha256:{'0' * 64}", None),
    ],
)
def test_call_asks_for_one_reply(call: Call, method: str, path: str, expected: object) -> None:
    assert (call.method, call.path, call.is_stream) == (method, path, False)
    assert body(call) == expected


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (calls.events(), "/api/events"),
        (calls.chat(ChatRequest(model="m")), "/api/chat"),
        (calls.generate(GenerateRequest(model="m", stream=True)), "/api/generate"),
        (calls.create(CreateRequest(model="m")), "/api/create"),
        (calls.pull("m"), "/api/pull"),
    ],
)
def test_call_asks_for_a_stream(call: Call, path: str) -> None:
    assert (call.path, call.is_stream) == (path, True)


def test_chat_and_generate_ask_for_one_reply_when_told_so() -> None:
    assert not calls.chat(ChatRequest(model="m", stream=False)).is_stream
    assert not calls.generate(GenerateRequest(model="m", stream=False)).is_stream


def test_body_keeps_what_differs_from_unset_though_it_is_false_or_zero() -> None:
    request = ChatRequest(model="m", think=False, keep_alive=0, truncate=False, stream=False)
    assert body(calls.chat(request)) == {
        "model": "m",
        "think": False,
        "keep_alive": 0,
        "truncate": False,
        "stream": False,
    }


def test_body_leaves_out_what_a_message_does_not_have_but_role_and_content() -> None:
    messages = (
        Message(role="user", content="look", images=(b"abc",)),
        Message(
            role="assistant",
            tool_calls=(ToolCall(function=ToolCallFunction(name="f", arguments={"x": 1})),),
        ),
    )
    assert body(calls.chat(ChatRequest(model="m", messages=messages))) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "look", "images": ["YWJj"]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
                ],
            },
        ],
    }


def test_create_spells_from_as_the_wire_does() -> None:
    request = CreateRequest(model="m", from_="base", files={}, parameters={"seed": 1})
    assert body(calls.create(request)) == {
        "model": "m",
        "from": "base",
        "files": {},
        "parameters": {"seed": 1},
    }
