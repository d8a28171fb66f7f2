"""Which samplers a request gets, on logits that are known."""

import numpy as np
import pytest

from ollama_jupyter.runner.wire import Sampling
from tests.runner.bench import Bench, Recorded
from tests.tiny_models import write_llama

pytestmark = pytest.mark.engine

from ollama_jupyter.runner.sampler import token_info  # noqa: E402 - after the skip in bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(write_llama(tmp_path_factory.mktemp("models") / "tiny-llama.gguf"))


def _answer(bench: Bench, sampling: Sampling) -> Recorded:
    return bench.answer("one two three", sampling=sampling, num_predict=12)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=5, top_k=1, seed=1),
        Sampling(temperature=5, top_k=0, top_p=1e-6, seed=1),
        Sampling(temperature=5, top_k=0, top_p=1, min_p=1.0, seed=1),
        Sampling(temperature=1e-6, top_k=0, top_p=1, seed=1),
        Sampling(temperature=-1),
    ],
)
def test_strictest_settings_are_greedy(bench: Bench, sampling: Sampling) -> None:
    answer = _answer(bench, sampling)

    bench.assert_greedy(answer.prompt, answer.ids)


def test_temperature_is_felt(bench: Bench) -> None:
    hot = Sampling(temperature=50, top_k=0, top_p=1, seed=5)

    assert _answer(bench, hot).ids != _answer(bench, Sampling(temperature=0)).ids


def test_typical_sampling_is_felt(bench: Bench) -> None:
    free = Sampling(temperature=3, top_k=0, top_p=1, seed=5)
    typical = Sampling(temperature=3, top_k=0, top_p=1, typical_p=0.05, seed=5)

    assert _answer(bench, free).ids != _answer(bench, typical).ids


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0, repeat_last_n=-1, frequency_penalty=1000),
        Sampling(temperature=0, repeat_last_n=-1, presence_penalty=1000),
    ],
)
def test_penalties_keep_tokens_from_coming_back(bench: Bench, sampling: Sampling) -> None:

    ids = _answer(bench, sampling).ids

    assert len(set(ids)) == len(ids)


def test_penalty_of_no_tokens_is_off(bench: Bench) -> None:
    off = Sampling(temperature=0, repeat_last_n=0, repeat_penalty=1000.0)

    assert _answer(bench, off).ids == _answer(bench, Sampling(temperature=0)).ids


def test_token_info_gives_natural_logs_best_first(bench: Bench) -> None:
    logits = np.full(bench.weights.vocab_size, -30.0, np.float32)
    logits[[3, 5, 9]] = np.log([0.5, 0.3, 0.2])

    info = token_info(logits, 5, top=2, weights=bench.weights)

    assert info.logprob == pytest.approx(np.log(0.3), abs=1e-3)
    assert [top.id for top in info.top] == [3, 5]
    assert info.bytes == bench.weights.piece(5)


def test_token_info_of_a_forbidden_token_is_a_number(bench: Bench) -> None:
    logits = np.zeros(bench.weights.vocab_size, np.float32)
    logits[4] = -np.inf

    assert token_info(logits, 4, top=0, weights=bench.weights).logprob == -1e9


def test_token_info_asks_for_no_more_than_there_are(bench: Bench) -> None:
    logits = np.zeros(bench.weights.vocab_size, np.float32)

    info = token_info(logits, 1, top=10**6, weights=bench.weights)

    assert len(info.top) == bench.weights.vocab_size
