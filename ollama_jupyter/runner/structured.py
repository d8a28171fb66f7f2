"""Answers that must follow a form: JSON of a schema, an expression, choices, a grammar.

llguidance turns the form into a mask over the vocabulary for each token. The mask for the next
token is computed in a thread of its own while llama.cpp evaluates the last one, and is laid over
the logits in place.

A form that cannot be compiled, or is too big to, is the caller's error; a form is never ignored.
"""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import llguidance
import numpy as np
from numpy.typing import NDArray

from ollama_jupyter.errors import BadRequest
from ollama_jupyter.runner.llama import Weights
from ollama_jupyter.runner.wire import Grammar

_ANY_OBJECT = {"type": "object"}
# Small models repeat white space for ever when they may; this is what llama.cpp allows too.
_WHITE_SPACE = r"( |\n{1,2}[ \t]{0,20})?"
_JSON_OPTIONS: Any = {"whitespace_pattern": _WHITE_SPACE, "whitespace_flexible": True}
_LONGEST_REASON = 300


class GrammarCompiler:
    """Compiles forms for one vocabulary; `close` ends its thread.

    Its tables take about a second to build, so they are built with the first form.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._tokenizer: Any = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="mask")

    def compile(self, grammar: Grammar) -> "Constraint":
        """The constraint of one answer.

        Raises:
            BadRequest: the form is wrong, empty, or too big.
        """
        matcher = llguidance.LLMatcher(self._vocabulary(), _to_llguidance(grammar), log_level=0)
        if matcher.is_error():
            reason = str(matcher.get_error())[:_LONGEST_REASON]
            raise BadRequest(f"invalid format: {reason}")
        return Constraint(matcher, executor=self._executor, after=grammar.after.encode())

    def _vocabulary(self) -> Any:  # noqa: ANN401 - a class without types
        if self._tokenizer is None:
            weights = self._weights
            tokens = []
            for token in range(weights.vocab_size):
                piece = weights.piece(token)
                # 0xFF marks a token whose text is no text.
                tokens.append(b"\xff" + piece if weights.is_special(token) else piece)
            self._tokenizer = llguidance.LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]  # not in its stubs
                tokens=tokens,
                vocab_ptr=weights.vocab_address,
                tokenize_fptr=weights.tokenize_address,
                eos_token=sorted(weights.end_tokens) or weights.eos,
                slices=None,
            )
        return self._tokenizer

    def close(self) -> None:
        """End the thread that computes masks."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _to_llguidance(grammar: Grammar) -> str:
    """The form in llguidance's own notation."""
    value = grammar.value
    match grammar.kind:
        case "json":
            return _from_schema(_ANY_OBJECT)
        case "json_schema" if isinstance(value, dict | bool):
            return _from_schema(value)
        case "regex" if isinstance(value, str) and value:
            return str(llguidance.LLMatcher.grammar_from_regex(value))
        case "lark" if isinstance(value, str) and value.strip():
            return str(llguidance.LLMatcher.grammar_from_lark(value))
        case "choice" if _is_choice(value):
            options = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in value)
            return str(llguidance.LLMatcher.grammar_from_lark(f"start: {options}"))
    raise BadRequest(f"invalid format: {grammar.kind!r} with a value that does not fit it")


def _is_choice(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) and v for v in value)


def _from_schema(schema: dict[str, Any] | bool) -> str:
    try:
        return str(
            llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(schema), overrides=_JSON_OPTIONS
            )
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"invalid format: {str(error)[:_LONGEST_REASON]}") from error


class Constraint:
    """The state of one answer in its form.

    Attributes:
        is_complete: whether nothing may follow any more.
        error: why the form cannot be followed further; empty while it can.
    """

    def __init__(self, matcher: Any, *, executor: ThreadPoolExecutor, after: bytes) -> None:  # noqa: ANN401
        self._matcher = matcher
        self._executor = executor
        self._after = after
        self._tail = b""
        self._mask: Future[bytes] | None = None
        self.is_complete = False
        self.error = ""

    @property
    def is_active(self) -> bool:
        """Whether it constrains the next token; not before the text it waits for came."""
        return not self._after

    def prepare(self) -> None:
        """Start computing the mask of the next token."""
        if self.is_active and self._mask is None:
            self._mask = self._executor.submit(self._matcher.compute_bitmask)

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Set the logits of forbidden tokens to minus infinity, in place."""
        self.prepare()
        if self._mask is None:
            return
        packed = np.frombuffer(self._mask.result(), np.uint8)
        allowed = np.unpackbits(packed, count=len(logits), bitorder="little")
        logits[allowed == 0] = -np.inf
        self._mask = None

    def take(self, token: int, piece: bytes) -> None:
        """Note the token drawn, and its bytes."""
        if not self.is_active:
            self._tail = (self._tail + piece)[-len(self._after) - len(piece) :]
            if self._after in self._tail:
                self._after = b""
            return
        self._mask = None
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            self.error = str(self._matcher.get_error())[:_LONGEST_REASON]
        self.is_complete = bool(self._matcher.is_stopped())
