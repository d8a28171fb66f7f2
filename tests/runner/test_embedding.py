"""Vectors of encoders, of decoders and of rerankers."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ollama_jupyter.errors import BadRequest
from tests.runner.bench import Bench, Recorded, wait_until
from tests.tiny_models import write_bert, write_llama

pytestmark = pytest.mark.engine

TEXTS = ("the quick brown fox", "paris is the capital of france", "hello", "why is the sky blue")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    path = write_bert(tmp_path_factory.mktemp("models") / "tiny-bert.gguf")
    return Bench(path, is_encoder=True, slots=1)


@pytest.fixture
def decoder(tmp_path: Path) -> Bench:
    return Bench(write_llama(tmp_path / "tiny-llama.gguf"), num_batch=64)


def _vectors(bench: Bench, *texts: str, max_tokens: int = 0) -> NDArray[np.float64]:
    recorded = bench.embed(*texts, max_tokens=max_tokens)
    bench.run()
    return np.array(_reply_of(recorded).embeddings)


def _reply_of(recorded: Recorded) -> "EmbeddingReply":
    assert recorded.error is None, recorded.error
    assert recorded.reply is not None
    return recorded.reply


from ollama_jupyter.runner.wire import EmbeddingReply  # noqa: E402 - after the skip in bench


def test_several_inputs_give_what_each_gives_alone(bert: Bench) -> None:
    together = _vectors(bert, *TEXTS)

    assert together.shape == (4, 32)
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_allclose(row, _vectors(bert, text)[0], atol=1e-4)


def test_more_inputs_than_one_decode_takes_keep_their_order(bert: Bench) -> None:
    texts = [f"{word} fox" for word in "abcdefghijklmnopqrstu"]
    steps = bert.engine.steps

    together = _vectors(bert, *texts)

    assert bert.engine.steps - steps < len(texts)
    np.testing.assert_allclose(together[20], _vectors(bert, texts[20])[0], atol=1e-4)


def test_encoder_sees_its_longest_input_whole(bert: Bench) -> None:
    words = "the quick brown fox jumps over lazy dog why is sky blue " * 60

    vector = _vectors(bert, words)[0]
    cut = _vectors(bert, words, max_tokens=64)[0]

    assert np.isfinite(vector).all()
    assert not np.allclose(vector, cut, atol=1e-3)


def test_cut_input_keeps_the_token_that_closes_it(bert: Bench) -> None:
    recorded = bert.embed("the quick brown fox jumps over the lazy dog", max_tokens=4)

    assert recorded.work is not None
    tokens = recorded.work.inputs[0] if hasattr(recorded.work, "inputs") else []
    assert len(tokens) == 4
    assert tokens[-1] == bert.tokens("fox")[-1]
    bert.run()


def test_overlong_input_is_refused_when_it_may_not_be_cut(bert: Bench) -> None:
    with pytest.raises(BadRequest, match="input length exceeds the context length"):
        bert.embed("the " * 1000, truncate=False)


def test_reranker_gives_one_score(tmp_path: Path) -> None:
    path = write_bert(tmp_path / "rank.gguf", is_reranker=True)

    scores = _vectors(Bench(path, is_encoder=True, slots=1), *TEXTS)

    assert scores.shape == (4, 1)
    assert len(np.unique(scores.round(6))) == 4


def test_decoder_gives_the_vector_of_the_last_token(decoder: Bench) -> None:
    together = _vectors(decoder, *TEXTS)

    assert together.shape == (4, 64)
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_allclose(row, _vectors(decoder, text)[0], atol=2e-2)


def test_decoder_input_longer_than_a_batch_is_seen_whole(decoder: Bench) -> None:
    long = "the quick brown fox " * 40
    whole = Bench(Path(decoder.spec.model_path), num_batch=512)

    np.testing.assert_allclose(_vectors(decoder, long), _vectors(whole, long), atol=2e-2)


def test_vectors_between_steps_leave_running_streams_unharmed(decoder: Bench) -> None:
    stream = decoder.start("one two three", num_predict=30)
    decoder.engine.step()
    vectors = decoder.embed(*TEXTS)

    decoder.run()

    assert len(_reply_of(vectors).embeddings) == 4
    decoder.assert_greedy(stream.prompt, stream.ids)


def test_vectors_leave_no_cells_behind(decoder: Bench) -> None:
    for _ in range(40):
        _vectors(decoder, "the quick brown fox jumps over the lazy dog " * 10)

    prompt = decoder.tokens("one two three")
    decoder.assert_greedy(prompt, decoder.answer(prompt).ids)


def test_empty_input_still_has_a_vector(decoder: Bench) -> None:
    assert np.isfinite(_vectors(decoder, "")).all()


def test_token_count_is_that_of_all_inputs(decoder: Bench) -> None:
    recorded = decoder.embed("one", "two three")
    decoder.run()

    expected = len(decoder.tokens("one")) + len(decoder.tokens("two three"))
    assert _reply_of(recorded).prompt_tokens == expected


def test_canceled_job_is_dropped(decoder: Bench) -> None:
    canceled = decoder.embed(*TEXTS)
    assert canceled.work is not None
    decoder.engine.cancel(canceled.work)

    kept = decoder.embed("one")
    decoder.run()

    assert canceled.reply is None
    assert _reply_of(kept).embeddings
    wait_until(lambda: decoder.engine.running == 0)
