"""The options of a model run: names, types and defaults, and how their sources are merged.

Built-in default < PARAMETER lines of the model < `options` of the request. Nothing below this
module sees an option as JSON: `merge` gives every one its type or refuses it.

Two spellings come in. A request's are JSON values (`merge`); those of a Modelfile are texts
(`format_params`), typed once when the model is made.
"""

import logging
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from ollama_jupyter.api.types import JSON
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import parse_bool, parse_int

_LOG: Final = logging.getLogger(__name__)

_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1
_MIN_NUM_CTX: Final = 4
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """The options a runner is loaded with; other values of them need another runner.

    Attributes:
        num_ctx: tokens one sequence may hold; 0 means automatic.
        num_batch: tokens evaluated at once at most.
        num_gpu: layers on the GPU; -1 means automatic.
        main_gpu: the only GPU to use; None means any.
        use_mmap: None leaves it to the runner.
        num_thread: compute threads; 0 means automatic.
    """

    num_ctx: int = 0
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every option under the name clients use, with the reference's default.

    Integers lie within int32, but for `seed` (int64). Floats are finite and the shortest decimal
    of a float32. What an out-of-range value means is said where it is used.
    """

    num_ctx: int = 0
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0
    num_keep: int = 4
    seed: int = -1
    num_predict: int = -1
    # Of no use without a draft model, but models in the registry carry it.
    draft_num_predict: int = 4
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    temperature: float = 0.8
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()

    def runner(self) -> RunnerOptions:
        """The part that decides which runner serves a request, each value made possible."""
        main_gpu = self.main_gpu if self.main_gpu is not None and self.main_gpu >= 0 else None
        return RunnerOptions(
            num_ctx=max(self.num_ctx, _MIN_NUM_CTX) if self.num_ctx else 0,
            num_batch=max(self.num_batch, 1),
            num_gpu=max(self.num_gpu, -1),
            main_gpu=main_gpu,
            use_mmap=self.use_mmap,
            num_thread=max(self.num_thread, 0),
        )


_FLOATS: Final = frozenset(
    {
        "top_p",
        "min_p",
        "typical_p",
        "temperature",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    }
)
_BOOLEANS: Final = frozenset({"use_mmap"})
_TEXT_LISTS: Final = frozenset({"stop"})
_NAMES: Final = frozenset(field.name for field in fields(Options))

DEPRECATED_PARAMETERS: Final = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    }
)
"""Parameters that old Modelfiles set and nothing reads any more."""


def merge(
    model_parameters: Mapping[str, JSON], request_options: Mapping[str, JSON] | None
) -> Options:
    """The options of one request: defaults, then the model's, then the request's.

    A null leaves what was there; an unknown name is logged and ignored.

    Raises:
        BadRequest: a value has the wrong JSON type, or no float32 holds it.
    """
    merged: dict[str, Any] = {}
    for source in (model_parameters, request_options or {}):
        for name, value in source.items():
            if name not in _NAMES:
                _LOG.warning("unknown option %.64r ignored", name)
            elif value is not None:
                merged[name] = _typed(name, value)
    return Options(**merged)


def _typed(name: str, value: JSON) -> object:
    """One JSON value as the option's type; a float given for an integer loses its fraction."""
    if name in _BOOLEANS:
        if not isinstance(value, bool):
            raise _wrong_type(name, "boolean")
        return value
    if name in _TEXT_LISTS:
        return _texts(name, value)
    kind = "float32" if name in _FLOATS else "integer"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(name, kind)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong_type(name, kind)
    if kind == "integer":
        limit = _INT64_MAX if name == "seed" else _INT32_MAX
        return max(-limit - 1, min(int(value), limit))
    number = round_to_float32(value)
    if number is None:
        raise _wrong_type(name, kind)
    return number


def _texts(name: str, value: JSON) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong_type(name, "array")
    if not all(isinstance(entry, str) for entry in value):
        raise BadRequest(f'option "{name}" must be of an array of strings')
    return tuple(value)


def _wrong_type(name: str, kind: str) -> BadRequest:
    return BadRequest(f'option "{name}" must be of type {kind}')


def format_params(parameters: Mapping[str, Sequence[str]]) -> dict[str, JSON]:
    """The typed values of PARAMETER lines, given as the texts of each name in file order.

    The first text of a scalar counts; `stop` keeps all.

    Raises:
        BadRequest: a name is no option, or a text does not spell its type.
    """
    return {name: _from_texts(name, texts) for name, texts in parameters.items()}


def _from_texts(name: str, texts: Sequence[str]) -> JSON:
    if name not in _NAMES:
        raise BadRequest(f"unknown parameter '{name}'")
    if name in _TEXT_LISTS:
        return list(texts)
    value: bool | float | None
    if name in _BOOLEANS:
        kind, value = "bool", parse_bool(texts[0])
    elif name in _FLOATS:
        kind, value = "float", _parse_float32(texts[0])
    else:
        kind, value = "int", parse_int(texts[0])
    if value is None:
        raise BadRequest(f"invalid {kind} value [{' '.join(texts)}]")
    return value


def _parse_float32(text: str) -> float | None:
    """The finite float32 a decimal text spells, or None (Go strconv.ParseFloat, 32 bits)."""
    # Infinities and NaN, which Go reads too, could not be stored as JSON.
    return round_to_float32(float(text)) if _DECIMAL.fullmatch(text) else None


def round_to_float32(value: float) -> float | None:
    """The number of fewest digits that means the same float32; None when none can hold it."""
    try:
        single = _float32(float(value))
    except OverflowError:
        return None
    return float(shortest_float32(single)) if math.isfinite(single) else None


def shortest_float32(single: float) -> str:
    """The fewest decimal digits that read back as the given float32 (at least 6 are tried)."""
    # Six digits survive any float32, so a shorter decimal shows up here with its zeros cut off.
    for digits in (6, 7, 8):
        text = f"{single:.{digits}g}"
        if _float32(float(text)) == single:
            return text
    return f"{single:.9g}"


def _float32(number: float) -> float:
    """The float32 nearest to a float; OverflowError when it lies beyond the largest."""
    single: float = struct.unpack("f", struct.pack("f", number))[0]
    return single
