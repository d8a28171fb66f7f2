"""A model's answers over HTTP: streamed, joined, single."""

import asyncio
import json
from typing import Any

import pytest

from ollama_jupyter.api.types import (
    ChatChunk,
    GenerateChunk,
    Logprob,
    ReplyMessage,
    ToolCall,
    ToolCallFunction,
)
from ollama_jupyter.runner import wire
from ollama_jupyter.server.generation import join_chat, join_generate
from tests.fakes.rooms import words
from tests.server.web import Web, read_chunk, read_head

ASK = {"model": "test", "prompt": "Hello"}


async def test_generate_streams(web: Web) -> None:
    reply = await web.post("/api/generate", ASK)
    assert [record["response"] for record in reply.records] == ["Hi", "!", ""]
    last = reply.records[-1]
    assert list(last) == [
        "model",
        "created_at",
        "response",
        "done",
        "done_reason",
        "context",
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_cached_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    ]


async def test_generate_joins(web: Web) -> None:
    reply = (await web.post("/api/generate", ASK | {"stream": False})).json
    assert (reply["response"], reply["done"]) == ("Hi!", True)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/api/generate", {"model": "test"}, "load"),
        ("/api/generate", {"model": "test", "keep_alive": 0}, "unload"),
        ("/api/chat", {"model": "test"}, "load"),
        ("/api/chat", {"model": "test", "messages": [], "keep_alive": 0}, "unload"),
    ],
)
async def test_loading_and_unloading_answer_with_one_object(
    web: Web, path: str, body: dict[str, Any], reason: str
) -> None:
    reply = await web.post(path, body)
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert (reply.json["done"], reply.json["done_reason"]) == (True, reason)
    assert "total_duration" not in reply.json


async def test_a_rendered_prompt_is_one_object(web: Web) -> None:
    reply = await web.post("/api/generate", ASK | {"_debug_render_only": True})
    assert reply.json["_debug_info"] == {"rendered_template": "<user>Hello<assistant>"}


async def test_progress_comes_before_the_text_and_only_in_a_stream(web: Web) -> None:
    web.scheduler.reports = (("loading", 1, 2),)
    progress = wire.CompletionChunk(prefill_completed=1, prefill_total=2)
    web.scheduler.runner.answers = [[progress, *words("Hi")]]
    streamed = (await web.post("/api/generate", ASK | {"progress": True})).records
    assert [record.get("status") for record in streamed] == ["loading", "prefill", None, None]
    assert all(record["done"] is False for record in streamed[:-1])
    single = (await web.post("/api/generate", ASK | {"progress": True, "stream": False})).json
    assert "status" not in single


async def test_progress_is_sent_while_the_model_loads(web: Web) -> None:
    web.scheduler.reports = (("loading", 1, 2),)
    web.scheduler.gate = asyncio.Event()
    reader, _ = await web.open("POST", "/api/generate", ASK | {"progress": True})
    await read_head(reader)
    assert json.loads(await read_chunk(reader))["status"] == "loading"


async def test_embed_gives_float32_vectors(web: Web) -> None:
    web.scheduler.runner.vectors = ((0.1, 0.2),)
    reply = await web.post("/api/embed", {"model": "test", "input": ["a", "b"]})
    assert reply.json["embeddings"] == [[0.4472136, 0.8944272]] * 2
    assert reply.json["prompt_eval_count"] == 4


async def test_embeddings_gives_one_vector_as_it_is(web: Web) -> None:
    reply = await web.post("/api/embeddings", {"model": "test", "prompt": "a"})
    assert reply.json == {"embedding": [3.0, 4.0]}
    empty = await web.post("/api/embeddings", {"model": "test"})
    assert empty.json == {"embedding": []}


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/api/generate", {"model": "nope"}, 404, "model 'nope' not found"),
        ("/api/generate", {}, 404, "model '' not found"),
        ("/api/chat", {}, 400, "model is required"),
        ("/api/embed", {"model": "test", "input": 5}, 400, "invalid input type"),
        ("/api/embeddings", {}, 400, "model is required"),
        ("/api/chat", {"model": "a:cloud"}, 403, "ollama cloud is disabled"),
        ("/api/chat", {"model": "test", "think": "hi"}, 400, "invalid think value"),
        ("/api/chat", {"model": "test", "keep_alive": "1d"}, 400, "unknown unit"),
    ],
)
async def test_refusals_have_the_status_of_the_contract(
    web: Web, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    reply = await web.post(path, body)
    assert reply.status == status
    assert text in reply.json["error"]


# --- joining --------------------------------------------------------------------------------


def test_join_chat_puts_everything_on_the_last_record() -> None:
    call = ToolCall(id="1", function=ToolCallFunction(name="f"))
    logprob = Logprob(token="a", logprob=-1.0)
    parts = [
        _chat(thinking="hm "),
        _chat(thinking="ok", tool_calls=(call,)),
        _chat(content="a", logprobs=(logprob,)),
        _chat(content="b", done=True),
    ]
    joined = join_chat(parts)
    assert joined.done
    assert (joined.message.content, joined.message.thinking) == ("ab", "hm ok")
    assert joined.message.tool_calls == (call,)
    assert joined.logprobs == (logprob,)


def _chat(
    content: str = "",
    thinking: str = "",
    tool_calls: tuple[ToolCall, ...] = (),
    logprobs: tuple[Logprob, ...] = (),
    done: bool = False,
) -> ChatChunk:
    message = ReplyMessage(
        role="assistant", content=content, thinking=thinking, tool_calls=tool_calls
    )
    return ChatChunk(model="m", created_at="", message=message, done=done, logprobs=logprobs)


def test_join_generate_puts_everything_on_the_last_record() -> None:
    parts = [
        GenerateChunk(model="m", created_at="", response="a", thinking="x", done=False),
        GenerateChunk(model="m", created_at="", response="b", done=True, eval_count=2),
    ]
    joined = join_generate(parts)
    assert (joined.response, joined.thinking, joined.eval_count) == ("ab", "x", 2)
