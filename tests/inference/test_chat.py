"""A chat, from request to records, with the rooms below played by fakes."""

import asyncio
from contextlib import aclosing

import pytest

from ollama_jupyter.api.types import (
    ChatChunk,
    ChatRequest,
    Message,
    ProgressChunk,
    Tool,
    ToolFunction,
)
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import (
    BadRequest,
    Busy,
    Forbidden,
    NotFound,
    RunnerDied,
    UnsupportedCapability,
)
from ollama_jupyter.inference.chat import chat
from tests.fakes.rooms import (
    THINKING_TEMPLATE,
    TOOL_TEMPLATE,
    FakeRunner,
    FakeScheduler,
    fake_model,
    fake_rooms,
    until,
    words,
)

HELLO = (Message(role="user", content="Hello"),)
WEATHER = Tool(type="function", function=ToolFunction(name="weather"))


async def _records(
    request: ChatRequest, model: Model, scheduler: FakeScheduler | None = None
) -> list[ChatChunk | ProgressChunk]:
    rooms = fake_rooms(model, scheduler=scheduler)
    return [record async for record in chat(rooms, request)]


async def _chunks(
    request: ChatRequest, model: Model, scheduler: FakeScheduler | None = None
) -> list[ChatChunk]:
    records = await _records(request, model, scheduler)
    return [record for record in records if isinstance(record, ChatChunk)]


def _answering(*texts: str) -> FakeScheduler:
    return FakeScheduler(runner=FakeRunner(answers=[words(*texts)]))


async def test_chat_streams_pieces_and_ends_with_figures() -> None:
    chunks = await _chunks(ChatRequest(model="test", messages=HELLO), fake_model())
    assert [chunk.message.content for chunk in chunks] == ["Hi", "!", ""]
    assert [chunk.done for chunk in chunks] == [False, False, True]
    assert {chunk.message.role for chunk in chunks} == {"assistant"}
    last = chunks[-1]
    assert last.model == "test"
    assert last.created_at == "1970-01-01T00:00:00Z"
    assert (last.done_reason, last.prompt_eval_count, last.eval_count) == ("stop", 12, 3)
    assert (last.prompt_eval_cached_count, last.prompt_eval_duration) == (5, 300)
    assert last.eval_duration == 600
    assert 0 < last.load_duration < last.total_duration


async def test_chat_renders_the_template_with_the_model_s_system_and_messages() -> None:
    scheduler = FakeScheduler()
    stored = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    model = fake_model(system="Be brief.", messages=stored)
    await _chunks(ChatRequest(model="test", messages=HELLO), model, scheduler)
    (request,) = scheduler.runner.completions
    assert request.prompt == "<system>Be brief.<user>a<assistant>b<user>Hello<assistant>"


async def test_chat_leaves_the_model_s_system_out_when_the_request_has_one() -> None:
    scheduler = FakeScheduler()
    messages = (Message(role="system", content="Mine."), *HELLO)
    request = ChatRequest(model="test", messages=messages)
    await _chunks(request, fake_model(system="Be brief."), scheduler)
    assert scheduler.runner.completions[0].prompt == "<system>Mine.<user>Hello<assistant>"


async def test_chat_passes_options_of_model_and_request_on() -> None:
    scheduler = FakeScheduler(num_ctx=2048)
    request = ChatRequest(
        model="test",
        messages=HELLO,
        keep_alive="2s",
        shift=False,
        options={"temperature": 0.5, "num_ctx": 1024, "num_predict": 7, "stop": ["x"]},
    )
    await _chunks(request, fake_model(parameters={"top_k": 3, "seed": 9}), scheduler)
    ((options, keep_alive_ns, shift),) = scheduler.wanted
    assert (options.num_ctx, keep_alive_ns, shift) == (1024, 2_000_000_000, False)
    asked = scheduler.runner.completions[0]
    assert (asked.num_ctx, asked.num_predict, asked.stop, asked.shift) == (1024, 7, ("x",), False)
    assert asked.sampling.temperature == 0.5
    assert (asked.sampling.top_k, asked.sampling.seed) == (3, 9)
    assert asked.top_logprobs is None


async def test_chat_never_asks_for_more_context_than_was_lent() -> None:
    scheduler = FakeScheduler(num_ctx=512)
    request = ChatRequest(model="test", messages=HELLO, options={"num_ctx": 1024})
    await _chunks(request, fake_model(), scheduler)
    assert scheduler.runner.completions[0].num_ctx == 512


async def test_chat_loads_when_there_are_no_messages() -> None:
    scheduler = FakeScheduler()
    (chunk,) = await _chunks(ChatRequest(model="test", keep_alive=-1), fake_model(), scheduler)
    assert (chunk.done, chunk.done_reason, chunk.message.content) == (True, "load", "")
    assert len(scheduler.wanted) == 1
    assert not scheduler.runner.completions


async def test_chat_unloads_when_keep_alive_is_zero_without_messages() -> None:
    scheduler = FakeScheduler()
    (chunk,) = await _chunks(ChatRequest(model="test", keep_alive=0), fake_model(), scheduler)
    assert (chunk.done, chunk.done_reason) == (True, "unload")
    assert scheduler.unloaded == ["test:latest"]
    assert not scheduler.wanted


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (ChatRequest(model=""), BadRequest, "model is required"),
        (ChatRequest(model="::x"), BadRequest, "invalid model name"),
        (ChatRequest(model="nope"), NotFound, "model 'nope' not found"),
        (ChatRequest(model="a:cloud"), Forbidden, "remote model is unavailable"),
        (ChatRequest(model="test", top_logprobs=21), BadRequest, "between 0 and 20"),
        (ChatRequest(model="nope", top_logprobs=-1), BadRequest, "between 0 and 20"),
        (
            ChatRequest(model="test", messages=HELLO, think=True),
            UnsupportedCapability,
            '"test" does not support thinking',
        ),
        (
            ChatRequest(model="test", messages=HELLO, tools=(WEATHER,)),
            UnsupportedCapability,
            "registry.ollama.ai/library/test:latest does not support tools",
        ),
        (
            ChatRequest(model="test", messages=(Message(role="user", images=(b"x",)),)),
            UnsupportedCapability,
            "does not support vision",
        ),
        (
            ChatRequest(model="test", messages=HELLO, format="xml"),
            BadRequest,
            r'invalid format: "\\"xml\\""',
        ),
        (ChatRequest(model="test", options={"seed": "x"}), BadRequest, "must be of type integer"),
    ],
)
async def test_chat_refuses_before_anything_is_loaded(
    request_: ChatRequest, error: type[Exception], text: str
) -> None:
    scheduler = FakeScheduler()
    with pytest.raises(error, match=text):
        await _chunks(request_, fake_model(), scheduler)
    assert not scheduler.wanted


async def test_chat_refuses_a_model_that_only_embeds() -> None:
    request = ChatRequest(model="test", messages=HELLO)
    with pytest.raises(UnsupportedCapability, match=r'^"test" does not support chat$'):
        await _chunks(request, fake_model(capabilities=("embedding",)))


async def test_chat_passes_a_full_queue_on() -> None:
    scheduler = FakeScheduler(refuses_with=Busy("server busy"))
    with pytest.raises(Busy):
        await _chunks(ChatRequest(model="test", messages=HELLO), fake_model(), scheduler)


async def test_chat_raises_after_pieces_when_the_runner_dies_and_gives_the_slot_back() -> None:
    scheduler = FakeScheduler(runner=FakeRunner(fails_with=RunnerDied("gone")))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    records = chat(rooms, ChatRequest(model="test", messages=HELLO))
    for _ in range(2):
        await anext(records)
    with pytest.raises(RunnerDied):
        await anext(records)
    assert scheduler.active == 0


async def test_chat_separates_thinking_from_the_answer() -> None:
    model = fake_model(template=THINKING_TEMPLATE, capabilities=("completion", "thinking"))
    scheduler = _answering("<think>", "hm", "m</th", "ink>", "\nYes", ".")
    chunks = await _chunks(ChatRequest(model="test", messages=HELLO), model, scheduler)
    assert "".join(chunk.message.thinking for chunk in chunks) == "hmm"
    assert "".join(chunk.message.content for chunk in chunks) == "Yes."
    assert all(c.done or c.message.thinking or c.message.content for c in chunks)


async def test_chat_leaves_tags_alone_when_told_not_to_think() -> None:
    model = fake_model(template=THINKING_TEMPLATE, capabilities=("completion", "thinking"))
    request = ChatRequest(model="test", messages=HELLO, think=False)
    chunks = await _chunks(request, model, _answering("<think>x</think>y"))
    assert "".join(chunk.message.content for chunk in chunks) == "<think>x</think>y"


async def test_chat_constrains_the_answer_and_not_the_thinking() -> None:
    model = fake_model(template=THINKING_TEMPLATE, capabilities=("completion", "thinking"))
    scheduler = _answering("<think>", "hm</think>", "{}")
    request = ChatRequest(model="test", messages=HELLO, format="json")
    chunks = await _chunks(request, model, scheduler)
    (asked,) = scheduler.runner.completions
    assert asked.grammar is not None
    assert (asked.grammar.kind, asked.grammar.after) == ("json_schema", "</think>")
    assert "".join(chunk.message.content for chunk in chunks) == "{}"


async def test_chat_asks_again_with_the_constraint_when_the_model_does_not_think() -> None:
    model = fake_model(template=THINKING_TEMPLATE, capabilities=("completion", "thinking"))
    runner = FakeRunner(answers=[words("Sure", "!"), words("{", "}")])
    scheduler = FakeScheduler(runner=runner)
    request = ChatRequest(model="test", messages=HELLO, format="json")
    chunks = await _chunks(request, model, scheduler)
    first, second = runner.completions
    assert first.grammar is not None
    assert second.grammar is not None
    assert (first.grammar.after, second.grammar.after) == ("</think>", "")
    assert runner.closed == 1
    assert "".join(chunk.message.content for chunk in chunks) == "{}"


async def test_chat_gives_tool_calls_with_ids_of_their_own() -> None:
    model = fake_model(template=TOOL_TEMPLATE, capabilities=("completion", "tools"))
    scheduler = _answering("<tool_call>", '{"name": "weather", "arguments": {"city"', ': "Oslo"}}')
    request = ChatRequest(model="test", messages=HELLO, tools=(WEATHER,))
    chunks = await _chunks(request, model, scheduler)
    (call,) = [call for chunk in chunks for call in chunk.message.tool_calls]
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Oslo"})
    assert call.id.startswith("call_")
    assert len(call.id) == len("call_") + 8
    assert "".join(chunk.message.content for chunk in chunks) == ""


async def test_chat_lets_the_runner_render_a_jinja_template() -> None:
    scheduler = FakeScheduler()
    model = fake_model(chat_template="{{ messages }}", system="Be brief.")
    await _chunks(ChatRequest(model="test", messages=HELLO), model, scheduler)
    assert scheduler.runner.completions[0].prompt == "jinja:Be brief.|Hello"
    (asked,) = scheduler.runner.templates
    assert asked.messages[0] == {"role": "system", "content": "Be brief."}
    assert asked.enable_thinking is None
    assert asked.tools is None


@pytest.mark.parametrize("chat_template", ["", "{{ messages }}"])
async def test_chat_says_what_it_left_out_of_an_overlong_conversation(chat_template: str) -> None:
    scheduler = FakeScheduler(num_ctx=40)
    scheduler.runner.answers = [words("ok", truncated=3)]
    old = tuple(Message(role="user", content="word " * 20) for _ in range(3))
    request = ChatRequest(model="test", messages=(*old, Message(role="assistant"), *HELLO))
    model = fake_model(chat_template=chat_template)
    chunks = await _chunks(request, model, scheduler)
    assert chunks[-1].truncated is not None
    assert chunks[-1].truncated.tokens == 3
    assert chunks[-1].truncated.messages >= 2
    assert "Hello" in str(scheduler.runner.completions[0].prompt)


async def test_chat_counts_no_tokens_when_truncation_is_off() -> None:
    scheduler = FakeScheduler(num_ctx=10)
    long = (Message(role="user", content="word " * 50), *HELLO)
    request = ChatRequest(model="test", messages=long, truncate=False)
    chunks = await _chunks(request, fake_model(), scheduler)
    assert not scheduler.runner.tokenized
    assert scheduler.runner.completions[0].truncate is False
    assert chunks[-1].truncated is None


async def test_chat_reports_progress_only_when_asked() -> None:
    reports = (("queued", 1, 2), ("loading", 5, 10))
    scheduler = FakeScheduler(reports=reports)
    request = ChatRequest(model="test", messages=HELLO, progress=True)
    records = await _records(request, fake_model(), scheduler)
    statuses = [record.status for record in records if isinstance(record, ProgressChunk)]
    assert statuses
    assert set(statuses) <= {"queued", "loading"}
    assert scheduler.runner.completions[0].progress is True
    quiet = await _records(ChatRequest(model="test", messages=HELLO), fake_model(), scheduler)
    assert not [record for record in quiet if isinstance(record, ProgressChunk)]


async def test_chat_renders_only_when_asked_to() -> None:
    scheduler = FakeScheduler()
    request = ChatRequest(model="test", messages=HELLO, debug_render_only=True)
    (chunk,) = await _chunks(request, fake_model(), scheduler)
    assert chunk.debug_info is not None
    assert chunk.debug_info.rendered_template == "<user>Hello<assistant>"
    assert (chunk.done, chunk.message.role) == (False, "")
    assert not scheduler.runner.completions


async def test_chat_strips_old_thinking_of_models_that_are_known_for_it() -> None:
    scheduler = FakeScheduler()
    messages = (
        Message(role="user", content="a"),
        Message(role="assistant", content="<think>hm</think>\n\nb"),
        *HELLO,
    )
    request = ChatRequest(model="test", messages=messages)
    await _chunks(request, fake_model(family="qwen3"), scheduler)
    assert scheduler.runner.completions[0].prompt == "<user>a<assistant>b<user>Hello<assistant>"


async def test_closing_a_chat_stops_the_runner_and_gives_the_slot_back() -> None:
    scheduler = FakeScheduler(runner=FakeRunner(gate=asyncio.Event()))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    async with aclosing(chat(rooms, ChatRequest(model="test", messages=HELLO))) as records:
        await anext(records)
        assert scheduler.active == 1
    assert (scheduler.active, scheduler.runner.closed) == (0, 1)


@pytest.mark.parametrize("progress", [False, True])
async def test_cancelling_a_chat_that_waits_gives_up_the_wait(progress: bool) -> None:
    scheduler = FakeScheduler(gate=asyncio.Event())
    request = ChatRequest(model="test", messages=HELLO, progress=progress)
    task = asyncio.create_task(_records(request, fake_model(), scheduler))
    await until(lambda: scheduler.waiting, "it waits")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (scheduler.waiting, scheduler.active) == (0, 0)
