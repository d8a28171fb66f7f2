"""How the next token is drawn: which samplers, in which order, and how likely the choice was.

The order is llama.cpp's own (common/sampling.cpp): penalties, top-k, typical, top-p, min-p,
temperature, draw. A temperature of zero takes the most likely token after the penalties.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ollama_jupyter.runner.llama import SamplerChain, Weights
from ollama_jupyter.runner.wire import Sampling, TokenAlternative, TokenInfo

RANDOM_SEED = 0xFFFFFFFF


def create_chain(sampling: Sampling, *, weights: Weights, num_ctx: int) -> SamplerChain:
    """A sampler chain for one request; the caller closes it."""
    chain = SamplerChain()
    # llama.cpp sets aside memory for all of them.
    last_n = num_ctx if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, num_ctx)
    if last_n and has_penalties(sampling):
        chain.penalties(
            weights.vocab_size,
            last_n,
            repeat=sampling.repeat_penalty,
            frequency=sampling.frequency_penalty,
            presence=sampling.presence_penalty,
        )
    if sampling.temperature <= 0:
        chain.greedy()
        return chain
    if sampling.top_k > 0:
        chain.top_k(sampling.top_k)
    if sampling.typical_p < 1:
        chain.typical(sampling.typical_p)
    if sampling.top_p < 1:
        chain.top_p(sampling.top_p)
    if sampling.min_p > 0:
        chain.min_p(sampling.min_p)
    chain.temperature(sampling.temperature)
    chain.draw(RANDOM_SEED if sampling.seed < 0 else sampling.seed % RANDOM_SEED)
    return chain


def has_penalties(sampling: Sampling) -> bool:
    """Whether tokens seen before change the odds."""
    return (
        sampling.repeat_penalty != 1
        or sampling.frequency_penalty != 0
        or sampling.presence_penalty != 0
    )


def accept_prompt(chain: SamplerChain, sampling: Sampling, prompt: Sequence[int]) -> None:
    """Let the penalties know the prompt, as far back as they look."""
    if not has_penalties(sampling) or sampling.repeat_last_n == 0:
        return
    recent = prompt if sampling.repeat_last_n < 0 else prompt[-sampling.repeat_last_n :]
    for token in recent:
        chain.accept(token)


def token_info(logits: NDArray[np.float32], token: int, *, top: int, weights: Weights) -> TokenInfo:
    """Log probabilities of a drawn token and of the `top` likeliest, before any sampler.

    Args:
        logits: [vocab_size] float32 as the model gave them.
        token: the one that was drawn.
        top: alternatives wanted.
        weights: gives the bytes of a token.
    """
    values = logits.astype(np.float64)
    peak = values.max()
    total = float(peak + np.log(np.exp(values - peak).sum()))
    drawn = _alternative(token, float(values[token]) - total, weights)
    best = (
        _alternative(index, float(values[index]) - total, weights)
        for index in _likeliest(values, min(top, len(values)))
    )
    return TokenInfo(id=token, bytes=drawn.bytes, logprob=drawn.logprob, top=tuple(best))


def _likeliest(values: NDArray[np.float64], count: int) -> list[int]:
    """Indices of the highest values, the highest first; equal ones by index."""
    if count <= 0:
        return []
    found = np.argpartition(values, -count)[-count:]
    order = np.lexsort((found, -values[found]))
    return [int(index) for index in found[order]]


def _alternative(token: int, logprob: float, weights: Weights) -> TokenAlternative:
    # Minus infinity, which a mask leaves behind, is no JSON number.
    return TokenAlternative(id=token, bytes=weights.piece(token), logprob=max(logprob, -1e9))
