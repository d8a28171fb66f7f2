"""What a request asks of a model, checked and in the words of the runner protocol.

A format constrains the answer of a thinking model, not its thinking: the constraint begins after
the closing tag.
"""

import json
from typing import Final

from ollama_jupyter.api.options import Options
from ollama_jupyter.api.types import JSON, ChatRequest, GenerateRequest, Think
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.errors import BadRequest, UnsupportedCapability
from ollama_jupyter.runner.wire import CompletionRequest, Grammar, Sampling

_GRAMMAR_KINDS: Final = ("regex", "choice", "lark")


def check_top_logprobs(count: int) -> None:
    """Refuse a number of alternatives outside what is offered.

    Raises:
        BadRequest: it is.
    """
    if not 0 <= count <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20")


def settle_think(model: Model, name: str, think: Think | None) -> Think | None:
    """Whether the model is to think: what was asked, or that it thinks when it can.

    Raises:
        UnsupportedCapability: it was asked to, and cannot.
    """
    can_think = "thinking" in model.capabilities
    if think is None:
        return True if can_think else None
    if think and not can_think:
        raise UnsupportedCapability(f'"{name}" does not support thinking')
    return think


def refuse_images(model: Model, count: int) -> None:
    """Refuse images: no runner reads them yet, and an answer that ignores them misleads.

    Raises:
        UnsupportedCapability: there are any.
    """
    if count:
        raise UnsupportedCapability(
            f"{model.name.full()} does not support vision here: this version reads no images;"
            " send the request without them"
        )


def completion_request(
    request: ChatRequest | GenerateRequest,
    *,
    prompt: str,
    options: Options,
    num_ctx: int,
    grammar: Grammar | None,
) -> CompletionRequest:
    """What the runner is asked for."""
    return CompletionRequest(
        prompt=prompt,
        sampling=_sampling(options),
        num_ctx=num_ctx,
        num_predict=options.num_predict,
        num_keep=options.num_keep,
        shift=request.shift is not False,
        truncate=request.truncate is not False,
        stop=options.stop,
        top_logprobs=request.top_logprobs if request.logprobs else None,
        grammar=grammar,
        progress=request.progress,
    )


def _sampling(options: Options) -> Sampling:
    """The sampler settings among the options."""
    return Sampling(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        typical_p=options.typical_p,
        repeat_last_n=options.repeat_last_n,
        repeat_penalty=options.repeat_penalty,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        seed=options.seed,
    )


def grammar_of(wanted: JSON, *, after: str = "") -> Grammar | None:
    """The constraint that a request's `format` spells; None for none.

    Args:
        wanted: "json", a JSON Schema, or `{"type": "regex"|"choice"|"lark", "value": ...}`.
        after: text that must be generated before it applies.

    Raises:
        BadRequest: it is none of these.
    """
    if wanted is None or wanted == "":
        return None
    if wanted == "json":
        return Grammar(kind="json_schema", value={"type": "object"}, after=after)
    if not isinstance(wanted, dict):
        quoted = json.dumps(json.dumps(wanted, ensure_ascii=False), ensure_ascii=False)
        raise BadRequest(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')
    kind = wanted.get("type")
    if kind in _GRAMMAR_KINDS and "value" in wanted:
        value = wanted["value"]
        if not (_are_texts(value) if kind == "choice" else isinstance(value, str) and value):
            what = "a list of texts" if kind == "choice" else "a text"
            raise BadRequest(f"invalid format: the value of a {kind} is {what}")
        return Grammar(kind=kind, value=value, after=after)
    return Grammar(kind="json_schema", value=wanted, after=after)


def _are_texts(value: JSON) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
