"""One answer in the making: its tokens, its sampler, its text, and when it is over.

The engine evaluates tokens and draws new ones; this file decides what a drawn token means: more
text, an end, a full context. All tokens of the sequence are in `tokens`; those from `evaluated` on
are still to be evaluated, be they a prompt, the token drawn last, or text kept by a shift.
"""

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ollama_jupyter.errors import BadRequest, RunnerError
from ollama_jupyter.runner import sampler
from ollama_jupyter.runner.llama import Weights
from ollama_jupyter.runner.structured import Constraint
from ollama_jupyter.runner.text import StopStrings, TextStream
from ollama_jupyter.runner.wire import (
    CompletionChunk,
    CompletionRequest,
    EmbeddingReply,
    Timings,
    TokenInfo,
)

PROMPT_TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)
_CAP_CONTEXTS = 10


class Sink(Protocol):
    """Where the pieces of an answer go; told in the loop's thread."""

    def put(self, piece: CompletionChunk | EmbeddingReply) -> None:
        """One more piece; the last one is a chunk with `done`, or the only reply."""

    def fail(self, error: Exception) -> None:
        """The answer ends here, with this error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is evaluated first.

    Attributes:
        tokens: at least one.
        keep: tokens at the start that stay when the middle goes.
        truncated: tokens already left out.
    """

    tokens: list[int]
    keep: int
    truncated: int


def fit_prompt(
    tokens: list[int], request: CompletionRequest, *, weights: Weights, num_ctx: int
) -> Prompt:
    """The prompt cut to what the context holds, the middle left out.

    Raises:
        BadRequest: it is empty, holds an id that is no token, or is too long and may not be cut.
    """
    if not tokens and weights.bos >= 0:
        tokens = [weights.bos]
    if not tokens:
        raise BadRequest("the prompt is empty; give the model at least one token")
    if min(tokens) < 0 or max(tokens) >= weights.vocab_size:
        raise BadRequest("the prompt holds a token id that the vocabulary does not")
    keep = len(tokens) if request.num_keep < 0 else request.num_keep
    keep = min(keep + int(weights.adds_bos), num_ctx - 2, len(tokens))
    if len(tokens) < num_ctx:
        return Prompt(tokens=tokens, keep=keep, truncated=0)
    if not (request.truncate and request.shift):
        raise BadRequest(PROMPT_TOO_LONG)
    kept = num_ctx - max((num_ctx - keep) // 2, 1)
    cut = len(tokens) - kept
    return Prompt(tokens=tokens[:keep] + tokens[keep + cut :], keep=keep, truncated=cut)


class Generation:
    """A running request.

    Attributes:
        sink: told of every piece.
        tokens: prompt and answer, as far as they are in the context.
        evaluated: how many of them are in the cache.
        sequence: its number in the cache; -1 while it has none.
        keep: tokens at the start that a shift keeps.
        num_ctx: tokens it may hold.
        is_canceled: whether nobody waits for it any more; set by the loop's thread.
        constraint: what masks its logits; None leaves them alone.
        stop_reason: why it is over; empty while it is not.
    """

    def __init__(
        self,
        request: CompletionRequest,
        prompt: Prompt,
        sink: Sink,
        *,
        weights: Weights,
        num_ctx: int,
        constraint: Constraint | None,
    ) -> None:
        self.sink = sink
        self.tokens = list(prompt.tokens)
        self.evaluated = 0
        self.sequence = -1
        self.keep = prompt.keep
        self.num_ctx = num_ctx
        self.is_canceled = False
        self.constraint = constraint
        self.stop_reason = ""
        self.can_shift = request.shift
        self.wants_progress = request.progress
        self._request = request
        self._weights = weights
        self._truncated = prompt.truncated
        self._prompt_tokens = len(prompt.tokens)
        self._cached = 0
        self._text = TextStream(StopStrings(request.stop))
        self.chain = sampler.create_chain(request.sampling, weights=weights, num_ctx=num_ctx)
        sampler.accept_prompt(self.chain, request.sampling, prompt.tokens)
        cap = _CAP_CONTEXTS * num_ctx
        wanted = request.num_predict
        self._limit = wanted if 0 < wanted < cap else cap
        self._generated = 0
        self._submitted_ns = time.monotonic_ns()
        self._admitted_ns = 0
        self._first_ns = 0

    @property
    def pending(self) -> int:
        """Tokens to evaluate before the next one can be drawn."""
        return len(self.tokens) - self.evaluated

    @property
    def has_just_begun(self) -> bool:
        """Whether the token drawn last was the first."""
        return self._generated == 1

    @property
    def is_full(self) -> bool:
        """Whether the context has no room for the token drawn last."""
        return len(self.tokens) > self.num_ctx

    def admit(self, sequence: int, cached: int) -> None:
        """Note the sequence it got, and how many of its tokens were in the cache already."""
        self.sequence = sequence
        self.evaluated = cached
        if not self._admitted_ns:
            self._admitted_ns = time.monotonic_ns()
            self._cached = cached

    def progress(self) -> CompletionChunk:
        """How much of the prompt is evaluated."""
        return CompletionChunk(prefill_completed=self.evaluated, prefill_total=self._prompt_tokens)

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Forbid what the constraint forbids, in place."""
        if self.constraint is not None:
            self.constraint.apply(logits)

    def describe(self, logits: NDArray[np.float32], token: int) -> TokenInfo | None:
        """Log probabilities of a drawn token; None when they are not wanted."""
        if self._request.top_logprobs is None:
            return None
        return sampler.token_info(
            logits, token, top=self._request.top_logprobs, weights=self._weights
        )

    @property
    def wants_logprobs(self) -> bool:
        """Whether every token is to be described."""
        return self._request.top_logprobs is not None

    def take(self, token: int, info: TokenInfo | None) -> CompletionChunk:
        """What the reader gets for the token just drawn; sets `stop_reason` when it is the last."""
        if not self._first_ns:
            self._first_ns = time.monotonic_ns()
        self._generated += 1
        if token in self._weights.end_tokens:
            self.stop_reason = "stop"
            return self._last("", (), ())
        self.tokens.append(token)
        piece = self._weights.piece(token)
        text = self._text.feed(piece)
        if self._text.is_stopped or self._is_constraint_met(token, piece):
            self.stop_reason = "stop"
        elif self._generated >= self._limit or (self.is_full and not self.can_shift):
            self.stop_reason = "length"
        infos = (info,) if info is not None else ()
        if self.stop_reason:
            return self._last(text, (token,), infos)
        return CompletionChunk(text=text, tokens=(token,), logprobs=infos)

    def _is_constraint_met(self, token: int, piece: bytes) -> bool:
        if self.constraint is None:
            return False
        self.constraint.take(token, piece)
        if self.constraint.error:
            raise RunnerError(f"the format cannot be followed: {self.constraint.error}")
        return self.constraint.is_complete

    def _last(
        self, text: str, tokens: tuple[int, ...], infos: tuple[TokenInfo, ...]
    ) -> CompletionChunk:
        return CompletionChunk(
            text=text + self._text.finish(),
            tokens=tokens,
            logprobs=infos,
            done=True,
            stop_reason=self.stop_reason,
            truncated_tokens=self._truncated,
            timings=self._timings(),
        )

    def _timings(self) -> Timings:
        now = time.monotonic_ns()
        return Timings(
            queue_ns=self._admitted_ns - self._submitted_ns,
            prompt_tokens=self._prompt_tokens,
            prompt_cached_tokens=self._cached,
            prompt_ns=self._first_ns - self._admitted_ns,
            generated_tokens=self._generated,
            generate_ns=now - self._first_ns,
        )

    def close(self) -> None:
        """Free what the sampler holds."""
        self.chain.close()
