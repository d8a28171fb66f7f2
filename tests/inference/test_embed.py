"""Vectors of texts, with the rooms below played by fakes."""

import math

import pytest

from ollama_jupyter.api.types import JSON, EmbeddingRequest, EmbedRequest
from ollama_jupyter.errors import BadRequest, NotFound
from ollama_jupyter.inference.embed import embed, embed_one
from tests.fakes.rooms import FakeRunner, FakeScheduler, fake_model, fake_rooms


async def test_embed_gives_a_unit_vector_for_each_input() -> None:
    scheduler = FakeScheduler(runner=FakeRunner(vectors=((3.0, 4.0), (0.0, 2.0))))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    reply = await embed(rooms, EmbedRequest(model="test", input=["a", "b"]))
    assert reply.embeddings[0] == pytest.approx([0.6, 0.8])
    assert reply.embeddings[1] == [0.0, 1.0]
    assert (reply.model, reply.prompt_eval_count) == ("test", 4)
    assert 0 < reply.load_duration < reply.total_duration
    assert scheduler.runner.embeddings[0].inputs == ("a", "b")
    assert scheduler.active == 0


async def test_embed_cuts_to_the_dimensions_and_normalises_again() -> None:
    scheduler = FakeScheduler(runner=FakeRunner(vectors=((3.0, 4.0, 12.0),)))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    reply = await embed(rooms, EmbedRequest(model="test", input="a", dimensions=2))
    assert reply.embeddings[0] == pytest.approx([0.6, 0.8])


async def test_embed_gives_a_zero_vector_back_as_it_is() -> None:
    scheduler = FakeScheduler(runner=FakeRunner(vectors=((0.0, 0.0),)))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    assert (await embed(rooms, EmbedRequest(model="test", input="a"))).embeddings == [[0.0, 0.0]]


@pytest.mark.parametrize("input_", ["", [], None])
async def test_embed_only_loads_when_there_is_nothing_to_embed(input_: JSON) -> None:
    scheduler = FakeScheduler()
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    reply = await embed(rooms, EmbedRequest(model="test", input=input_, keep_alive="1m"))
    assert reply.embeddings == []
    assert scheduler.wanted[0][1] == 60_000_000_000
    assert not scheduler.runner.embeddings


async def test_embed_takes_an_empty_text_in_a_list() -> None:
    rooms = fake_rooms(fake_model())
    assert len((await embed(rooms, EmbedRequest(model="test", input=[""]))).embeddings) == 1


@pytest.mark.parametrize("input_", [5, {"a": 1}, ["a", 5], True])
async def test_embed_refuses_other_inputs_before_it_looks_for_the_model(input_: JSON) -> None:
    with pytest.raises(BadRequest, match=r"^invalid input type$"):
        await embed(fake_rooms(), EmbedRequest(model="nope", input=input_))


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        ("", NotFound, "^model '' not found$"),
        ("a:cloud:local", NotFound, "^model 'a:cloud:local' not found$"),
        ("::x", BadRequest, "^invalid model name"),
        ("nope", NotFound, '^model "nope" not found, try pulling it first$'),
    ],
)
async def test_embed_words_a_missing_model(model: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        await embed(fake_rooms(), EmbedRequest(model=model, input="a"))


@pytest.mark.parametrize("number", [math.nan, math.inf])
async def test_embed_refuses_vectors_that_are_no_numbers(number: float) -> None:
    scheduler = FakeScheduler(runner=FakeRunner(vectors=((1.0, number),)))
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    with pytest.raises(BadRequest, match="NaN or Inf"):
        await embed(rooms, EmbedRequest(model="test", input="a"))


@pytest.mark.parametrize(
    ("ids", "kept"),
    # The fake's tokens are 0, 1, 2, …: BOS 0 is there, EOS 99 is not.
    [({"bos": 0, "eos": 99}, 19), ({"bos": 98, "eos": 99}, 18)],
)
async def test_embed_cuts_a_long_input_and_leaves_room_for_marks(
    ids: dict[str, int], kept: int
) -> None:
    kv: dict[str, int | str] = {f"tokenizer.ggml.{m}_token_id": n for m, n in ids.items()}
    scheduler = FakeScheduler(num_ctx=20)
    rooms = fake_rooms(fake_model(kv=kv), scheduler=scheduler)
    await embed(rooms, EmbedRequest(model="test", input="word " * 30))
    (sent,) = scheduler.runner.embeddings[0].inputs
    assert sent == "".join(f"[{n}]" for n in range(kept))


async def test_embed_refuses_a_long_input_that_may_not_be_cut() -> None:
    rooms = fake_rooms(fake_model(), scheduler=FakeScheduler(num_ctx=20))
    request = EmbedRequest(model="test", input="word " * 30, truncate=False)
    with pytest.raises(BadRequest, match="the input length exceeds the context length: 30 tokens"):
        await embed(rooms, request)


async def test_embed_keeps_to_the_length_the_model_was_trained_for() -> None:
    model = fake_model(kv={"llama.context_length": 10})
    scheduler = FakeScheduler()
    request = EmbedRequest(model="test", input="word " * 30)
    await embed(fake_rooms(model, scheduler=scheduler), request)
    (sent,) = scheduler.runner.embeddings[0].inputs
    assert str(sent).count("[") < 10


async def test_embed_one_gives_the_vector_as_the_model_made_it() -> None:
    rooms = fake_rooms(fake_model())
    reply = await embed_one(rooms, EmbeddingRequest(model="test", prompt="a"))
    assert reply.embedding == (3.0, 4.0)


async def test_embed_one_only_loads_without_a_prompt() -> None:
    scheduler = FakeScheduler()
    rooms = fake_rooms(fake_model(), scheduler=scheduler)
    assert (await embed_one(rooms, EmbeddingRequest(model="test"))).embedding == ()
    assert len(scheduler.wanted) == 1


async def test_embed_one_asks_for_a_model() -> None:
    with pytest.raises(BadRequest, match=r"^model is required$"):
        await embed_one(fake_rooms(), EmbeddingRequest(prompt="a"))
