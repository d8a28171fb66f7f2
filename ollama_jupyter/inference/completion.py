"""A completion and the parsed pieces of its answer: what chat and generate have in common.

A model that was asked to think and to follow a format, and does not think, is asked again with
the constraint on from the first token, so that a reply with a format always follows it.
"""

import secrets
import string
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from ollama_jupyter.api.types import (
    Logprob,
    Metrics,
    TokenLogprob,
    ToolCall,
    Truncated,
)
from ollama_jupyter.errors import RunnerError
from ollama_jupyter.inference.output.thinking import ThinkingParser
from ollama_jupyter.inference.output.tools import ToolParser
from ollama_jupyter.inference.waiting import Progress
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.runner.wire import CompletionRequest, Timings, TokenInfo

_CALL_ID_LETTERS: Final = string.ascii_lowercase + string.digits
_LEAST_LOGPROB: Final = -9999.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Part of an answer."""

    thinking: str = ""
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[Logprob, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self.thinking or self.content or self.tool_calls or self.logprobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a completion ended.

    Attributes:
        stop_reason: "stop" or "length".
        tokens: ids of everything generated, in order.
        timings: what it cost.
        truncated_tokens: prompt tokens left out.
    """

    stop_reason: str
    tokens: tuple[int, ...]
    timings: Timings
    truncated_tokens: int


# --- what comes back ------------------------------------------------------------------------


class Output:
    """Takes thinking and tool calls out of the text of one answer, as it comes."""

    def __init__(self, thinking: ThinkingParser | None, tools: ToolParser | None) -> None:
        self._thinking = thinking
        self._tools = tools
        self.has_thought = False

    def feed(self, text: str) -> Piece:
        """What more of the text makes known."""
        thinking = ""
        if self._thinking is not None and text:
            thinking, text = self._thinking.feed(text)
            self.has_thought = self.has_thought or bool(thinking)
        return self._piece(thinking, text)

    def finish(self) -> Piece:
        """What was held back, now that no more text comes."""
        # The reference loses what was held back; it was part of the answer, so it is sent here.
        thinking, text = self._thinking.finish() if self._thinking is not None else ("", "")
        piece = self._piece(thinking, text)
        if self._tools is None:
            return piece
        return replace(piece, content=piece.content + self._tools.leftover())

    def _piece(self, thinking: str, text: str) -> Piece:
        calls: Sequence[ToolCall] = ()
        if self._tools is not None and text:
            text, calls = self._tools.feed(text)
        named = tuple(msgspec.structs.replace(call, id=call.id or new_call_id()) for call in calls)
        return Piece(thinking=thinking, content=text, tool_calls=named)


def new_call_id() -> str:
    """An id for a tool call that the message answering it will name."""
    return "call_" + "".join(secrets.choice(_CALL_ID_LETTERS) for _ in range(8))


async def answer(
    runner: RunnerClient, request: CompletionRequest, new_output: Callable[[], Output]
) -> AsyncGenerator[Progress | Piece | Outcome, None]:
    """The pieces of an answer, none of them empty, and its outcome last."""
    grammar = request.grammar
    if grammar is not None and grammar.after:
        async with aclosing(_run(runner, request, new_output())) as items:
            async for item in items:
                if item is None:
                    break
                yield item
            else:
                return
        # It did not think, so nothing of its answer was constrained, and nothing was sent.
        now = msgspec.structs.replace(grammar, after="")
        request = msgspec.structs.replace(request, grammar=now)
    async with aclosing(_run(runner, request, new_output())) as items:
        async for item in items:
            if item is not None:
                yield item


async def _run(
    runner: RunnerClient, request: CompletionRequest, output: Output
) -> AsyncGenerator[Progress | Piece | Outcome | None, None]:
    """One completion; None when a delayed constraint would miss the answer."""
    waits = request.grammar is not None and bool(request.grammar.after)
    tokens: list[int] = []
    async with aclosing(runner.completion(request)) as chunks:
        async for chunk in chunks:
            if chunk.prefill_total and not chunk.done:
                yield Progress(
                    status="prefill", completed=chunk.prefill_completed, total=chunk.prefill_total
                )
            tokens += chunk.tokens
            pieces = [output.feed(chunk.text)]
            if chunk.done:
                pieces.append(output.finish())
            has_answer = chunk.done or any(piece.content or piece.tool_calls for piece in pieces)
            if waits and has_answer and not output.has_thought:
                yield None
                return
            piece = _joined(pieces, _logprobs(chunk.logprobs))
            if not piece.is_empty:
                yield piece
            if chunk.done:
                yield _outcome(chunk.stop_reason, tokens, chunk.timings, chunk.truncated_tokens)


def _joined(pieces: Sequence[Piece], logprobs: tuple[Logprob, ...]) -> Piece:
    return Piece(
        thinking="".join(piece.thinking for piece in pieces),
        content="".join(piece.content for piece in pieces),
        tool_calls=tuple(call for piece in pieces for call in piece.tool_calls),
        logprobs=logprobs,
    )


def _outcome(
    stop_reason: str, tokens: Sequence[int], timings: Timings | None, truncated: int
) -> Outcome:
    if timings is None:
        raise RunnerError("the runner ended an answer without its timings")
    return Outcome(
        stop_reason=stop_reason or "stop",
        tokens=tuple(tokens),
        timings=timings,
        truncated_tokens=truncated,
    )


def _logprobs(infos: Sequence[TokenInfo]) -> tuple[Logprob, ...]:
    return tuple(
        Logprob(
            token=info.bytes.decode("utf-8", "replace"),
            logprob=max(info.logprob, _LEAST_LOGPROB),
            bytes=tuple(info.bytes),
            top_logprobs=tuple(
                TokenLogprob(
                    token=other.bytes.decode("utf-8", "replace"),
                    logprob=max(other.logprob, _LEAST_LOGPROB),
                    bytes=tuple(other.bytes),
                )
                for other in info.top
            ),
        )
        for info in infos
    )


def metrics(outcome: Outcome, *, started_ns: int, ready_ns: int, ended_ns: int) -> Metrics:
    """The figures of a finished generation.

    Args:
        outcome: how it ended.
        started_ns: when the request arrived.
        ready_ns: when its runner was ready.
        ended_ns: when the answer was complete.
    """
    timings = outcome.timings
    return Metrics(
        total_duration=ended_ns - started_ns,
        load_duration=ready_ns - started_ns,
        prompt_eval_count=timings.prompt_tokens,
        prompt_eval_cached_count=timings.prompt_cached_tokens,
        prompt_eval_duration=timings.prompt_ns,
        eval_count=timings.generated_tokens,
        eval_duration=timings.generate_ns,
    )


def truncated(messages: int, tokens: int) -> Truncated | None:
    """What was left out of the prompt; None when nothing was."""
    return Truncated(messages=messages, tokens=tokens) if messages or tokens else None
