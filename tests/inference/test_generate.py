"""A generate request, from request to records, with the rooms below played by fakes."""

import asyncio
from contextlib import aclosing

import pytest

from ollama_jupyter.api.types import GenerateChunk, GenerateRequest, Message, ProgressChunk
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import BadRequest, InvalidTemplate, NotFound, UnsupportedCapability
from ollama_jupyter.inference.generate import generate
from ollama_jupyter.runner import wire
from tests.fakes.rooms import (
    THINKING_TEMPLATE,
    FakeRunner,
    FakeScheduler,
    fake_model,
    fake_rooms,
    words,
)

FILLING = (
    "{{ if .Suffix }}<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ else }}{{ .Prompt }}{{ end }}"
)


async def _records(
    request: GenerateRequest, model: Model, scheduler: FakeScheduler | None = None
) -> list[GenerateChunk | ProgressChunk]:
    rooms = fake_rooms(model, scheduler=scheduler)
    return [record async for record in generate(rooms, request)]


async def _chunks(
    request: GenerateRequest, model: Model, scheduler: FakeScheduler | None = None
) -> list[GenerateChunk]:
    records = await _records(request, model, scheduler)
    return [record for record in records if isinstance(record, GenerateChunk)]


async def _prompt(request: GenerateRequest, model: Model) -> object:
    scheduler = FakeScheduler()
    await _chunks(request, model, scheduler)
    return scheduler.runner.completions[0].prompt


async def test_generate_streams_pieces_and_ends_with_figures_and_context() -> None:
    request = GenerateRequest(model="test", prompt="two words")
    chunks = await _chunks(request, fake_model())
    assert [chunk.response for chunk in chunks] == ["Hi", "!", ""]
    last = chunks[-1]
    assert (last.done, last.done_reason, last.eval_count) == (True, "stop", 3)
    # A token a word of the rendered prompt, then those of the answer.
    assert last.context == (0, 1, 100, 101)
    assert 0 < last.load_duration < last.total_duration


@pytest.mark.parametrize(
    ("request_", "prompt"),
    [
        (
            GenerateRequest(model="test", prompt="p"),
            "<system>S<user>a<assistant>b<user>p<assistant>",
        ),
        (
            GenerateRequest(model="test", prompt="p", system="T"),
            "<system>T<user>a<assistant>b<user>p<assistant>",
        ),
        (GenerateRequest(model="test", prompt="p", raw=True), "p"),
        (
            GenerateRequest(model="test", prompt="p", context=(7, 8)),
            "[7][8]<system>S<user>p<assistant>",
        ),
        (
            GenerateRequest(model="test", prompt="p", context=(7,), template="{{ .Prompt }}!"),
            "[7]p!",
        ),
    ],
)
async def test_generate_builds_the_prompt(request_: GenerateRequest, prompt: str) -> None:
    stored = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    assert await _prompt(request_, fake_model(system="S", messages=stored)) == prompt


async def test_generate_fills_a_gap_with_a_model_that_can() -> None:
    request = GenerateRequest(model="test", prompt="def f(", suffix="return 1")
    model = fake_model(template=FILLING, capabilities=("completion", "insert"))
    assert await _prompt(request, model) == "<pre>def f(<suf>return 1<mid>"


async def test_generate_repeats_the_prompt_without_any_template() -> None:
    request = GenerateRequest(model="test", prompt="just this")
    assert await _prompt(request, fake_model(template="")) == "just this"


async def test_generate_raw_gives_no_context() -> None:
    request = GenerateRequest(model="test", prompt="p", raw=True)
    assert (await _chunks(request, fake_model()))[-1].context == ()


async def test_generate_loads_when_the_prompt_is_empty() -> None:
    scheduler = FakeScheduler()
    (chunk,) = await _chunks(GenerateRequest(model="test"), fake_model(), scheduler)
    assert (chunk.done, chunk.done_reason, chunk.response) == (True, "load", "")
    assert len(scheduler.wanted) == 1


async def test_generate_unloads_when_keep_alive_is_zero_without_a_prompt() -> None:
    scheduler = FakeScheduler()
    request = GenerateRequest(model="test", keep_alive="0s")
    (chunk,) = await _chunks(request, fake_model(), scheduler)
    assert (chunk.done, chunk.done_reason) == (True, "unload")
    assert scheduler.unloaded == ["test:latest"]


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (GenerateRequest(), NotFound, "^model '' not found$"),
        (GenerateRequest(model="nope:local"), NotFound, "model 'nope:local' not found"),
        (GenerateRequest(model="a:cloud:local"), BadRequest, "use either :local or :cloud"),
        (
            GenerateRequest(model="test", prompt="p", raw=True, system="s"),
            BadRequest,
            "raw mode does not support template, system, or context",
        ),
        (
            GenerateRequest(model="test", prompt="p", suffix="s"),
            UnsupportedCapability,
            "does not support insert",
        ),
        (
            GenerateRequest(model="test", prompt="p", template="{{ if }}"),
            InvalidTemplate,
            ".",
        ),
        (
            GenerateRequest(model="test", prompt="p", images=(b"x",)),
            UnsupportedCapability,
            "does not support vision",
        ),
        (
            GenerateRequest(model="test", prompt="p", think="low"),
            UnsupportedCapability,
            '"test" does not support thinking',
        ),
    ],
)
async def test_generate_refuses_before_anything_is_loaded(
    request_: GenerateRequest, error: type[Exception], text: str
) -> None:
    scheduler = FakeScheduler()
    with pytest.raises(error, match=text):
        await _chunks(request_, fake_model(), scheduler)
    assert not scheduler.wanted


async def test_generate_refuses_a_model_that_only_embeds() -> None:
    with pytest.raises(UnsupportedCapability, match=r'^"test" does not support generate$'):
        await _chunks(
            GenerateRequest(model="test", prompt="p"), fake_model(capabilities=("embedding",))
        )


async def test_generate_refuses_a_model_that_makes_images() -> None:
    model = fake_model(capabilities=("image",))
    with pytest.raises(BadRequest, match="image generation models are not currently supported"):
        await _chunks(GenerateRequest(model="test", prompt="p"), model)


async def test_generate_separates_thinking_that_the_prompt_opened() -> None:
    template = THINKING_TEMPLATE + "<think>\n"
    model = fake_model(template=template, capabilities=("completion", "thinking"))
    scheduler = FakeScheduler(runner=FakeRunner(answers=[words("hm", "</think>", "Yes")]))
    chunks = await _chunks(GenerateRequest(model="test", prompt="p"), model, scheduler)
    assert "".join(chunk.thinking for chunk in chunks) == "hm"
    assert "".join(chunk.response for chunk in chunks) == "Yes"


async def test_generate_sends_logprobs_with_their_bytes() -> None:
    info = wire.TokenInfo(
        id=1,
        bytes="é".encode(),
        logprob=-0.5,
        top=(wire.TokenAlternative(id=2, bytes=b"\xff", logprob=float("-inf")),),
    )
    answer = words("é")
    answer[0] = wire.CompletionChunk(text="é", tokens=(1,), logprobs=(info,))
    scheduler = FakeScheduler(runner=FakeRunner(answers=[answer]))
    request = GenerateRequest(model="test", prompt="p", logprobs=True, top_logprobs=1)
    chunks = await _chunks(request, fake_model(), scheduler)
    assert scheduler.runner.completions[0].top_logprobs == 1
    (entry,) = chunks[0].logprobs
    assert (entry.token, entry.logprob, entry.bytes) == ("é", -0.5, (0xC3, 0xA9))
    (other,) = entry.top_logprobs
    assert (other.token, other.bytes) == ("\ufffd", (255,))
    assert other.logprob == -9999.0


async def test_generate_reports_prefill_when_asked() -> None:
    progress = wire.CompletionChunk(prefill_completed=5, prefill_total=10)
    scheduler = FakeScheduler(runner=FakeRunner(answers=[[progress, *words("x")]]))
    request = GenerateRequest(model="test", prompt="p", progress=True)
    first, *_ = await _records(request, fake_model(), scheduler)
    assert isinstance(first, ProgressChunk)
    assert (first.status, first.completed, first.total) == ("prefill", 5, 10)
    assert first.done is False


async def test_generate_renders_only_when_asked_to() -> None:
    request = GenerateRequest(model="test", prompt="p", debug_render_only=True)
    (chunk,) = await _chunks(request, fake_model())
    assert chunk.debug_info is not None
    assert chunk.debug_info.rendered_template == "<user>p<assistant>"
    assert chunk.done is False


async def test_closing_generate_stops_the_runner() -> None:
    scheduler = FakeScheduler(runner=FakeRunner(gate=asyncio.Event()))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    request = GenerateRequest(model="test", prompt="p")
    async with aclosing(generate(rooms, request)) as records:
        await anext(records)
    assert (scheduler.active, scheduler.runner.closed) == (0, 1)
