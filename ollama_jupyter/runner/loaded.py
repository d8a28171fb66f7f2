"""A model that runs, as the loop's thread sees it: requests in, work for the engine out.

Nothing here touches the context. Looking into the vocabulary and compiling a form may take a
while, so both run in threads beside the loop.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

from ollama_jupyter.errors import BadRequest, RunnerError
from ollama_jupyter.runner import engine as engines
from ollama_jupyter.runner.embedding import EmbeddingJob, fit_input
from ollama_jupyter.runner.engine import Engine
from ollama_jupyter.runner.generation import Generation, Sink, fit_prompt
from ollama_jupyter.runner.llama import MAX_SEQUENCES, Context, TokenBatch, Weights
from ollama_jupyter.runner.outbox import Publish
from ollama_jupyter.runner.structured import Constraint, GrammarCompiler
from ollama_jupyter.runner.wire import (
    CompletionRequest,
    EmbeddingRequest,
    Grammar,
    RunnerSpec,
    TokenizeRequest,
)

_COMPILE_SECONDS = 5.0
_TEST_TOKENS = 5


class LoadedModel:
    """Weights, engine and form compiler of one runner.

    Attributes:
        weights: for the vocabulary.
        engine: where work goes.
        num_ctx: tokens one slot may hold.
        is_encoder: whether it only embeds.
    """

    def __init__(self, weights: Weights, engine: Engine, spec: RunnerSpec) -> None:
        self.weights = weights
        self.engine = engine
        self.num_ctx = slot_tokens(spec, weights)
        self.is_encoder = spec.is_encoder
        self._compiler = GrammarCompiler(weights)

    @classmethod
    def load(
        cls, spec: RunnerSpec, publish: Publish, on_progress: Callable[[float], None]
    ) -> "LoadedModel":
        """Read the model and evaluate a token with it; to be called in the engine's thread.

        Raises:
            RunnerError: it cannot be loaded, or cannot be run.
        """
        weights, engine = load_engine(spec, publish, on_progress)
        return cls(weights, engine, spec)

    def run(self) -> None:
        """The engine's loop; returns after `close`."""
        self.engine.run()

    def heartbeat(self, thread: threading.Thread) -> int:
        """Grows while the engine, running in that thread, works."""
        return engine_heartbeat(self.engine, thread)

    async def generation(self, request: CompletionRequest, sink: Sink) -> Generation:
        """The work for a completion, not yet handed to the engine.

        Raises:
            BadRequest: the prompt or the form is wrong or too long.
        """
        if self.is_encoder:
            raise BadRequest("this model only embeds; it cannot generate")
        num_ctx = min(request.num_ctx, self.num_ctx) if request.num_ctx > 0 else self.num_ctx
        tokens = await self._tokens(request.prompt)
        constraint = await self._constraint(request.grammar)
        prompt = fit_prompt(tokens, request, weights=self.weights, num_ctx=max(num_ctx, 4))
        return Generation(
            request,
            prompt,
            sink,
            weights=self.weights,
            num_ctx=max(num_ctx, 4),
            constraint=constraint,
        )

    async def embedding(self, request: EmbeddingRequest, sink: Sink) -> EmbeddingJob:
        """The work for some vectors, not yet handed to the engine.

        Raises:
            BadRequest: an input is wrong, or too long and may not be cut.
        """
        limit = min(self.num_ctx, self.engine.embedding_limit)
        inputs = [
            fit_input(await self._tokens(text), request, weights=self.weights, limit=limit)
            for text in request.inputs
        ]
        return EmbeddingJob(inputs, sink)

    async def tokenize(self, request: TokenizeRequest) -> list[int]:
        """Token ids of a text."""
        return await asyncio.to_thread(
            self.weights.tokenize,
            request.text,
            add_special=request.add_special,
            parse_special=request.parse_special,
        )

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of token ids.

        Raises:
            BadRequest: an id is no token.
        """
        if any(not 0 <= token < self.weights.vocab_size for token in tokens):
            raise BadRequest("a token id that the vocabulary does not hold")
        return b"".join(map(self.weights.piece, tokens)).decode("utf-8", "replace")

    @property
    def chat_template(self) -> str:
        """The Jinja text in the model file; empty when it has none."""
        return self.weights.chat_template()

    def special_texts(self) -> tuple[str, str]:
        """The texts of the tokens that begin and end a sequence; empty where there is none."""
        weights = self.weights
        begin, end = (
            weights.piece(token).decode("utf-8", "replace") if token >= 0 else ""
            for token in (weights.bos, weights.eos)
        )
        return begin, end

    async def _tokens(self, prompt: str | tuple[int, ...]) -> list[int]:
        if not isinstance(prompt, str):
            return list(prompt)
        tokens = await asyncio.to_thread(
            self.weights.tokenize, prompt, add_special=True, parse_special=True
        )
        bos = self.weights.bos
        if self.weights.adds_bos and tokens[:2] == [bos, bos]:
            # The text had one already: a template wrote it.
            return tokens[1:]
        return tokens

    async def _constraint(self, grammar: Grammar | None) -> Constraint | None:
        if grammar is None:
            return None
        try:
            async with asyncio.timeout(_COMPILE_SECONDS):
                return await asyncio.to_thread(self._compiler.compile, grammar)
        except TimeoutError as error:
            raise BadRequest("invalid format: it is too big to compile in time") from error

    def close(self) -> None:
        """End the engine's loop and the compiler's thread."""
        self.engine.close()
        self._compiler.close()


def load_engine(
    spec: RunnerSpec, publish: Publish, on_progress: Callable[[float], None]
) -> tuple[Weights, Engine]:
    """Load a model and evaluate one token with it.

    Raises:
        RunnerStartFailed: llama.cpp refuses the file, or has no memory for the context.
        RunnerError: the first decode fails.
    """
    weights = Weights.load(spec, on_progress)
    num_ctx = slot_tokens(spec, weights)
    sequences = sum(engines.sequence_counts(spec.slots, weights))
    # llama.cpp aborts the process over a batch that could not hold a token of every sequence.
    batch = max(spec.num_batch, num_ctx if spec.is_encoder else 0)
    context = Context(
        weights,
        spec,
        # A context smaller than a batch would shrink the batch.
        cells=_multiple(num_ctx * spec.slots, MAX_SEQUENCES),
        sequences=sequences,
        batch=_multiple(batch, sequences),
    )
    _test(context, max(weights.bos, 0))
    return weights, Engine(weights, context, spec, publish)


def _test(context: Context, token: int) -> None:
    """Evaluate a few tokens, then one: they take different kernels, and either may crash.

    Raises:
        RunnerError: llama.cpp fails.
    """
    batch = TokenBatch(_TEST_TOKENS)
    for start, count in ((0, _TEST_TOKENS - 1), (_TEST_TOKENS - 1, 1)):
        batch.count = 0
        batch.add(0, start, [token] * count)
        batch.want_all_outputs()
        code = context.decode(batch)
        if code != 0:
            raise RunnerError(f"the first decode failed with code {code}")
    context.cut(0, 0)


def slot_tokens(spec: RunnerSpec, weights: Weights) -> int:
    """Tokens one slot may hold: what was asked for, at most what the model was trained for."""
    return min(spec.num_ctx, weights.context_length) if weights.context_length else spec.num_ctx


def engine_heartbeat(engine: Engine, thread: threading.Thread) -> int:
    """A number that grows while the engine works: its steps, and its thread's time on a CPU.

    One decode of a long prompt may take minutes on a slow machine; it counts in hundredths of
    a second of CPU time meanwhile.
    """
    ident = thread.ident
    if ident is None or not thread.is_alive():
        return engine.steps
    clock = time.pthread_getcpuclockid(ident)
    return engine.steps + time.clock_gettime_ns(clock) // 10_000_000


def _multiple(count: int, of: int) -> int:
    """The smallest multiple that is not below `count`."""
    return -(-count // of) * of
