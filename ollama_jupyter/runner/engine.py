"""The one thread that owns llama.cpp: continuous batching over one KV cache.

A step is: take what the loop handed over, seat waiting requests, plan a batch, decode it, draw a
token for every sequence that is ready, publish. What is due after a step goes to the loop at once.

One decode stands or falls as a whole: when it is stopped because a client left, every sequence of
the batch is cut back to where it stood, and those that stay are evaluated again. The book-keeping
(`evaluated`, the prefix tree) moves only after a decode that succeeded.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ollama_jupyter.errors import OllamaError, RunnerError
from ollama_jupyter.runner import batch as batching
from ollama_jupyter.runner.embedding import Embedder, EmbeddingJob
from ollama_jupyter.runner.generation import Generation
from ollama_jupyter.runner.llama import MAX_SEQUENCES, POOLING_NONE, Context, TokenBatch, Weights
from ollama_jupyter.runner.outbox import Outbox, Outcome, Publish
from ollama_jupyter.runner.slots import Slots
from ollama_jupyter.runner.threads import ThreadCount, waited_ns
from ollama_jupyter.runner.wire import RunnerSpec

# While others generate: how long a step may take them, and the prompt tokens that means.
_PREFILL_STEP_NS = 250_000_000
_PREFILL_CHUNK_TOKENS = range(16, 256 + 1)
_EMBEDDING_SEQUENCES = 8
_MOVED = -1  # stands in the prefix tree for a token, and equals none
_DECODED, _NO_CELLS, _ABORTED = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """A sequence whose next token can be drawn from output `index` of the batch."""

    generation: Generation
    index: int


class Engine:
    """Steps of one context, to be called from one thread; `submit` and `cancel` from any.

    Attributes:
        running: sequences that run now.
        steps: decodes so far.
    """

    def __init__(
        self, weights: Weights, context: Context, spec: RunnerSpec, publish: Publish
    ) -> None:
        self._weights = weights
        self._context = context
        self._batch = TokenBatch(context.batch_size)
        sequences, embedding_sequences = sequence_counts(spec.slots, weights)
        self._slot_count = min(spec.slots, sequences)
        self._embedder = Embedder(
            context=context,
            batch=self._batch,
            first_sequence=sequences,
            sequences=embedding_sequences,
            is_encoder=spec.is_encoder,
        )
        self._slots = Slots(
            sequences=sequences,
            cells=context.cells,
            idle_tokens=spec.num_ctx,
            is_sharing=spec.prefix_sharing and weights.is_cuttable,
        )
        self._prefill_chunk = _PREFILL_CHUNK_TOKENS[-1]
        self._threads = ThreadCount(spec.num_threads)
        self._inbox: deque[Generation | EmbeddingJob] = deque()
        self._wake = threading.Event()
        self._waiting: deque[Generation] = deque()
        self._active: list[Generation] = []
        self._jobs: deque[EmbeddingJob] = deque()
        self._decoding: tuple[Generation | EmbeddingJob, ...] = ()
        self._outbox = Outbox(publish)
        self.steps = 0
        self.is_closing = False

    @property
    def running(self) -> int:
        """Requests that have a sequence or are being embedded."""
        return len(self._active) + len(self._jobs)

    @property
    def embedding_limit(self) -> int:
        """Tokens of an input at most: what is pooled inside llama.cpp must be seen whole."""
        context = self._context
        return context.cells if context.pooling == POOLING_NONE else context.ubatch_size

    # Called from the loop's thread.

    def submit(self, work: Generation | EmbeddingJob) -> None:
        """Hand over a request; its sink hears of it from now on."""
        self._inbox.append(work)
        self._wake.set()

    def cancel(self, work: Generation | EmbeddingJob) -> None:
        """Nobody waits for this request any more: free its sequence, in a running prompt too."""
        work.is_canceled = True
        decoding = self._decoding
        if any(generation is work for generation in decoding):
            # Worth stopping for: it is alone, or the batch holds a long prompt of its own.
            is_alone = all(generation.is_canceled for generation in decoding)
            if is_alone or (isinstance(work, Generation) and work.pending > 1):
                self._context.set_abort(True)
        self._wake.set()

    def close(self) -> None:
        """Let `run` return after the step it is in."""
        self.is_closing = True
        self._context.set_abort(True)
        self._wake.set()

    # Called from the engine's thread.

    def run(self) -> None:
        """Work until `close`."""
        while not self.is_closing:
            if self.step():
                self._adapt_threads()
                continue
            self._wake.wait()
            self._wake.clear()
            self._threads.skip(time.monotonic_ns(), waited_ns())

    def _adapt_threads(self) -> None:
        now = time.monotonic_ns()
        if self._threads.is_due(now) and self._threads.look(now, waited_ns()):
            self._context.set_threads(self._threads.count)

    def step(self) -> bool:
        """One decode; False when there was nothing to do."""
        self._collect()
        self._drop_canceled()
        self._admit()
        did_work = self._embed()
        if self._active:
            self._decode_active()
            did_work = True
        self._outbox.flush(time.monotonic_ns(), streams=len(self._active))
        return did_work

    def _collect(self) -> None:
        while self._inbox:
            work = self._inbox.popleft()
            if isinstance(work, EmbeddingJob):
                self._jobs.append(work)
            else:
                self._waiting.append(work)

    def _drop_canceled(self) -> None:
        for generation in [g for g in self._active if g.is_canceled]:
            self._end(generation)
        for generation in [g for g in self._waiting if g.is_canceled]:
            self._waiting.remove(generation)
            generation.close()

    def _admit(self) -> None:
        """Give a sequence to every request there is a slot for, oldest first."""
        for generation in list(self._waiting):
            if len(self._active) >= self._slot_count:
                return
            running = [(g.tokens, g.evaluated) for g in self._active]
            if self._slots.worth_waiting(generation.tokens, running):
                continue
            self._waiting.remove(generation)
            seat = self._slots.take(generation.tokens)
            self._erase(seat.forgotten)
            if seat.source == seat.sequence:
                self._context.cut(seat.sequence, seat.cached)
            elif seat.cached:
                self._context.copy_prefix(seat.source, seat.sequence, seat.cached)
            generation.admit(seat.sequence, seat.cached)
            self._active.append(generation)

    def _erase(self, sequences: Sequence[int]) -> None:
        for sequence in sequences:
            self._context.cut(sequence, 0)

    def _embed(self) -> bool:
        """One decode of the oldest embedding job."""
        while self._jobs and self._jobs[0].is_canceled:
            self._jobs.popleft()
        if not self._jobs:
            return False
        job = self._jobs[0]
        self._erase(self._slots.make_room(self._context.batch_size))
        outcome: Outcome | None = None
        self._decoding = (job,)
        try:
            if self._embedder.step(job):
                outcome = job.reply
        except RunnerError as error:
            outcome = error
        self._decoding = ()
        self.steps += 1
        if outcome is not None:
            self._jobs.popleft()
            self._outbox.put(job.sink, outcome)
        return True

    def _decode_active(self) -> None:
        for generation in [g for g in self._active if g.is_full]:
            self._shift(generation)
        shares = self._plan()
        outputs = self._fill(shares)
        for output in outputs:
            if output.generation.constraint is not None:
                output.generation.constraint.prepare()
        decoding = tuple(self._active[share.key] for share in shares)
        self._decoding = decoding
        started_ns = time.monotonic_ns()
        result = self._context.decode(self._batch)
        self._decoding = ()
        self._pace(time.monotonic_ns() - started_ns, max(share.tokens for share in shares))
        self._context.set_abort(False)
        self.steps += 1
        if result == _DECODED:
            for share, generation in zip(shares, decoding, strict=True):
                self._advance(generation, share.tokens)
            for output in outputs:
                self._draw(output)
        elif result == _ABORTED:
            self._roll_back(decoding)
        elif result == _NO_CELLS:
            self._roll_back(decoding)
            self._make_cells()
        else:
            self._roll_back(decoding)
            for generation in decoding:
                self._fail(generation, RunnerError(f"llama_decode failed with code {result}"))

    def _pace(self, spent_ns: int, longest: int) -> None:
        """Choose the prompt tokens of a step by how long those of the last one took."""
        if longest >= _PREFILL_CHUNK_TOKENS[0]:
            fitting = self._batch.count * _PREFILL_STEP_NS // max(spent_ns, 1)
            least, most = _PREFILL_CHUNK_TOKENS[0], _PREFILL_CHUNK_TOKENS[-1]
            self._prefill_chunk = min(max(fitting, least), most)

    def _plan(self) -> list[batching.Share]:
        needs = [
            batching.Need(key=index, tokens=generation.pending)
            for index, generation in enumerate(self._active)
        ]
        wanted = min(self._context.batch_size, sum(need.tokens for need in needs))
        if self._slots.free_cells < wanted:
            self._erase(self._slots.make_room(wanted))
        if self._slots.free_cells < len(needs):
            self._make_cells()
            return self._plan()
        return batching.plan(
            needs,
            batch_size=self._context.batch_size,
            prefill_chunk=self._prefill_chunk,
            cells=self._slots.free_cells,
        )

    def _fill(self, shares: Sequence[batching.Share]) -> list[_Output]:
        self._batch.count = 0
        outputs: list[_Output] = []
        for share in shares:
            generation = self._active[share.key]
            start = generation.evaluated
            tokens = generation.tokens[start : start + share.tokens]
            self._batch.add(generation.sequence, start, tokens)
            if share.is_last:
                index = self._batch.want_output()
                outputs.append(_Output(generation=generation, index=index))
        return outputs

    def _advance(self, generation: Generation, count: int) -> None:
        start = generation.evaluated
        self._slots.tree.extend(generation.sequence, generation.tokens[start : start + count])
        generation.evaluated = start + count
        if generation.wants_progress and count > 1:
            self._outbox.put(generation.sink, generation.progress())

    def _draw(self, output: _Output) -> None:
        generation = output.generation
        if generation.is_canceled:
            return
        try:
            raw = None
            if generation.wants_logprobs:
                raw = self._context.logits(output.index).copy()
            if generation.constraint is not None:
                generation.mask(self._context.logits(output.index))
            token = self._context.sample(generation.chain, output.index)
            info = generation.describe(raw, token) if raw is not None else None
            piece = generation.take(token, info)
            self._outbox.put(generation.sink, piece, is_urgent=generation.has_just_begun)
        except OllamaError as error:
            self._fail(generation, error)
            return
        if generation.stop_reason:
            self._end(generation)

    def _shift(self, generation: Generation) -> None:
        """Make room in a full context: drop the older half of what need not be kept."""
        keep, sequence = generation.keep, generation.sequence
        discard = max((len(generation.tokens) - keep) // 2, 1)
        evaluated = generation.evaluated
        del generation.tokens[keep : keep + discard]
        tree = self._slots.tree
        is_movable = self._weights.is_cuttable and self._context.can_shift
        self._erase(self._slots.make_owner(sequence))
        if is_movable and tree.is_owner(sequence) and evaluated >= keep + discard:
            self._context.cut(sequence, keep, keep + discard)
            self._context.move(sequence, keep + discard, -discard)
            generation.evaluated = evaluated - discard
            tree.cut(sequence, keep)
            # What was moved still knows of what was dropped: no other request may start with it.
            tree.extend(sequence, [_MOVED] * (generation.evaluated - keep))
            return
        self._cut_back(generation, min(keep, evaluated))

    def _cut_back(self, generation: Generation, length: int) -> None:
        """Let a sequence forget what it holds beyond `length`, or all where it can't in part."""
        length = length if self._weights.is_cuttable else 0
        self._context.cut(generation.sequence, length)
        self._slots.tree.cut(generation.sequence, length)
        generation.evaluated = length

    def _roll_back(self, decoding: Sequence[Generation]) -> None:
        for generation in decoding:
            self._cut_back(generation, generation.evaluated)

    def _make_cells(self) -> None:
        """No idle prefix is left to forget: the youngest sequence waits for the others."""
        if len(self._active) == 1:
            self._fail(self._active[0], RunnerError("the KV cache has no cell left"))
            return
        youngest = self._active.pop()
        self._cut_back(youngest, 0)
        self._erase(self._slots.give_back(youngest.sequence))
        self._waiting.appendleft(youngest)

    def _fail(self, generation: Generation, error: Exception) -> None:
        self._outbox.put(generation.sink, error)
        self._end(generation)

    def _end(self, generation: Generation) -> None:
        self._active.remove(generation)
        self._erase(self._slots.give_back(generation.sequence))
        generation.close()

    def fail_all(self, error: Exception) -> None:
        """End every request with an error, once the engine itself failed."""
        self._collect()
        for generation in [*self._active, *self._waiting]:
            self._outbox.put(generation.sink, error)
        for job in self._jobs:
            self._outbox.put(job.sink, error)
        self._active.clear()
        self._waiting.clear()
        self._jobs.clear()
        self._outbox.flush(time.monotonic_ns(), streams=0)


def sequence_counts(slots: int, weights: Weights) -> tuple[int, int]:
    """How many sequences generations and embeddings get.

    Beside those that run there are as many for kept prefixes, where they can be kept. Together
    they are a power of two: llama.cpp lays out its largest batch in equal parts for all
    sequences, and aborts the process when pooling finds a remainder.
    """
    embeddings = _EMBEDDING_SEQUENCES if weights.is_cuttable else 1
    wanted = embeddings + (2 * slots + 2 if weights.is_cuttable else slots)
    total = min(1 << (wanted - 1).bit_length(), MAX_SEQUENCES)
    return total - embeddings, embeddings
