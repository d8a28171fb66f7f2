"""Vectors of texts: as many inputs in one decode as fit.

An encoder pools inside llama.cpp and must see an input whole. A decoder without a pooling of its
own gives the vector of the last token, and its inputs may come in chunks. Either way the sequences
used here are numbered above those of generations, and their cells are freed right after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ollama_jupyter.errors import BadRequest, RunnerError
from ollama_jupyter.runner.llama import POOLING_LAST, POOLING_NONE, Context, TokenBatch, Weights
from ollama_jupyter.runner.wire import EmbeddingReply, EmbeddingRequest

if TYPE_CHECKING:
    from ollama_jupyter.runner.generation import Sink

TOO_LONG = "the input length exceeds the context length"
_ABORTED = 2


class EmbeddingJob:
    """The inputs of one request, and the vectors found so far.

    Attributes:
        sink: told of the reply or the error.
        inputs: token ids of each input, none of them empty.
        vectors: one an input, in order, as far as they are done.
        is_canceled: whether nobody waits for it any more; set by the loop's thread.
    """

    def __init__(self, inputs: Sequence[list[int]], sink: "Sink") -> None:
        self.sink = sink
        self.inputs = list(inputs)
        self.vectors: list[tuple[float, ...]] = []
        self.is_canceled = False

    @property
    def reply(self) -> EmbeddingReply:
        """All vectors; to be asked for once there is one for every input."""
        return EmbeddingReply(
            embeddings=tuple(self.vectors), prompt_tokens=sum(len(i) for i in self.inputs)
        )


def fit_input(
    tokens: list[int], request: EmbeddingRequest, *, weights: Weights, limit: int
) -> list[int]:
    """An input cut to what may be embedded; the token that closes it stays.

    Raises:
        BadRequest: it is empty, holds an id that is no token, or is too long and may not be cut.
    """
    if not tokens:
        tokens = [weights.bos if weights.bos >= 0 else max(weights.eos, 0)]
    if min(tokens) < 0 or max(tokens) >= weights.vocab_size:
        raise BadRequest("the input holds a token id that the vocabulary does not")
    if request.max_tokens > 0:
        limit = min(limit, request.max_tokens)
    if len(tokens) <= limit:
        return tokens
    if not request.truncate:
        raise BadRequest(TOO_LONG)
    if tokens[-1] in weights.end_tokens:
        return [*tokens[: limit - 1], tokens[-1]]
    return tokens[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedder:
    """Evaluates jobs in the engine's context, between its decodes.

    Attributes:
        first_sequence: the first of the numbers it may use.
        sequences: how many those are.
        is_encoder: whether the context does nothing else.
    """

    context: Context
    batch: TokenBatch
    first_sequence: int
    sequences: int
    is_encoder: bool

    def step(self, job: EmbeddingJob) -> bool:
        """Embed as many inputs as one decode holds; True once every input has its vector.

        Raises:
            RunnerError: a decode failed, for another reason than that it was stopped.
        """
        start = len(job.vectors)
        inputs: list[list[int]] = []
        room = self.context.batch_size
        for tokens in job.inputs[start : start + self.sequences]:
            if len(tokens) > room and inputs:
                break
            inputs.append(tokens)
            room -= len(tokens)
        try:
            job.vectors.extend(self._embed(inputs))
        finally:
            self.context.set_embeddings(self.is_encoder)
            for offset in range(len(inputs)):
                self.context.cut(self.first_sequence + offset, 0)
        return len(job.vectors) == len(job.inputs)

    def _embed(self, inputs: Sequence[list[int]]) -> list[tuple[float, ...]]:
        """The vectors; none when the decode was stopped."""
        heads = [0 for _ in inputs]
        if self.context.pooling in (POOLING_NONE, POOLING_LAST):
            # Only the last token counts. With vectors on, llama.cpp gives logits of every token
            # too, so all tokens before the last are evaluated with vectors off.
            heads = [len(tokens) - 1 for tokens in inputs]
            self.context.set_embeddings(False)
            if not self._evaluate([t[:head] for t, head in zip(inputs, heads, strict=True)]):
                return []
        self.context.set_embeddings(True)
        outputs: list[int] = []
        self.batch.count = 0
        for offset, (tokens, head) in enumerate(zip(inputs, heads, strict=True)):
            self.batch.add(self.first_sequence + offset, head, tokens[head:])
            outputs.append(self.batch.count - 1)
        self.batch.want_all_outputs()
        if not self._decode():
            return []
        return [self._vector(offset, output) for offset, output in enumerate(outputs)]

    def _evaluate(self, inputs: Sequence[list[int]]) -> bool:
        """Put inputs into the cache, in as many decodes as it takes; False when it was stopped."""
        self.batch.count = 0
        for offset, tokens in enumerate(inputs):
            start = 0
            while start < len(tokens):
                chunk = tokens[start : start + self.context.batch_size - self.batch.count]
                self.batch.add(self.first_sequence + offset, start, chunk)
                start += len(chunk)
                if self.batch.count == self.context.batch_size:
                    if not self._decode():
                        return False
                    self.batch.count = 0
        return self._decode() if self.batch.count else True

    def _vector(self, offset: int, output: int) -> tuple[float, ...]:
        if self.context.pooling == POOLING_NONE:
            row = self.context.embedding(output)
        else:
            row = self.context.pooled_embedding(self.first_sequence + offset)
        return tuple(row.tolist())

    def _decode(self) -> bool:
        """Whether the batch was evaluated; not when it was stopped."""
        code = self.context.decode(self.batch)
        self.context.set_abort(False)
        if code not in (0, _ABORTED):
            raise RunnerError(f"llama_decode failed with code {code}")
        return code == 0
