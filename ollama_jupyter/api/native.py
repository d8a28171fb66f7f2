"""Replies of the native API as bytes: JSON as Go writes it, and times as RFC 3339 texts.

What is sent is in the order of the Structs, compact, with `<`, `>`, `&`, U+2028 and U+2029 escaped
and everything else outside ASCII as it is. Which empty fields are left out is said by the Structs
of replies (`omit_defaults`); those that requests are made of, and that come back inside replies,
are in `_OMITTED_WHEN_EMPTY`.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import msgspec

from ollama_jupyter.api.json_text import without_surrogates
from ollama_jupyter.api.model_types import ShowResponse
from ollama_jupyter.api.options import shortest_float32
from ollama_jupyter.api.types import (
    JSON,
    ChatChunk,
    EmbedResponse,
    GenerateChunk,
    Message,
    Tool,
    ToolCall,
    ToolFunction,
    ToolParameters,
)

_ESCAPES: Final = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
_ENCODER: Final = msgspec.json.Encoder()

_OMITTED_WHEN_EMPTY: Final[Mapping[type[msgspec.Struct], frozenset[str]]] = {
    Message: frozenset({"thinking", "images", "tool_calls", "tool_name", "tool_call_id"}),
    ToolCall: frozenset({"id"}),
    Tool: frozenset({"items"}),
    ToolFunction: frozenset({"description"}),
    ToolParameters: frozenset({"defs", "items", "required"}),
}


def encode(record: object) -> bytes:
    """A record (a Struct, or plain JSON values) as one line of JSON, without the line's end."""
    try:
        line = _ENCODER.encode(_prepared(record))
    except UnicodeEncodeError:  # a lone surrogate: only file names can bring one this far
        line = _ENCODER.encode(without_surrogates(to_json(record)))
    for character, escape in _ESCAPES:
        if character in line:
            line = line.replace(character, escape)
    return line


def encode_error(message: str) -> bytes:
    """The body, or the last line, that tells of an error."""
    return encode({"error": message})


def _prepared(record: object) -> object:
    """What msgspec is to encode: the record itself where its Struct says all there is to say."""
    match record:
        case ChatChunk():
            return to_json(record) if record.message.tool_calls else record
        case GenerateChunk():
            return to_json(record) if record.tool_calls else record
        case EmbedResponse():
            return {**to_json(record), "embeddings": [_vector(row) for row in record.embeddings]}
        case ShowResponse():
            return msgspec.structs.replace(
                record,
                model_info=dict(sorted(record.model_info.items())),
                projector_info=dict(sorted(record.projector_info.items())),
            )
        case msgspec.Struct() if type(record) in _OMITTED_WHEN_EMPTY:
            return to_json(record)
        case _:
            return record


def _vector(row: Iterable[float]) -> msgspec.Raw:
    """A vector of float32 numbers in as few digits as mean the same."""
    return msgspec.Raw(f"[{','.join(_json_float32(single) for single in row)}]".encode())


def _json_float32(single: float) -> str:
    """A float32 as Go prints it in JSON: an exponent only below 1e-6 and from 1e21 on."""
    text = shortest_float32(single)
    if "e" not in text:
        return text
    digits, _, power = text.partition("e")
    exponent = int(power)
    if -7 < exponent < 21:
        return f"{float(text):.{max(_decimals(digits) - exponent, 0)}f}"
    return f"{digits}e{'+' if exponent > 0 else ''}{exponent}"


def _decimals(digits: str) -> int:
    return len(digits.partition(".")[2])


def to_json(value: object) -> JSON:
    """A record as plain JSON values, with the fields left out that are left out when encoded.

    Bytes become base64 texts. Used for what is written into prompts and stored, too.
    """
    if isinstance(value, msgspec.Struct):
        return _struct_to_json(value)
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    return msgspec.to_builtins(value)


def _struct_to_json(record: msgspec.Struct) -> dict[str, JSON]:
    omitted = _OMITTED_WHEN_EMPTY.get(type(record), frozenset())
    omits_defaults = record.__struct_config__.omit_defaults
    made = {}
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        if field.name in omitted and not value:
            continue
        if omits_defaults and not field.required and _is_default(field, value):
            continue
        made[field.encode_name] = to_json(value)
    return made


def _is_default(field: msgspec.structs.FieldInfo, value: object) -> bool:
    """Whether msgspec would leave the value out, too."""
    if field.default_factory is not msgspec.NODEFAULT:
        return isinstance(value, dict | list) and not value
    return type(value) is type(field.default) and bool(value == field.default)


# --- times ----------------------------------------------------------------------------------


def timestamp(ns: int) -> str:
    """A moment (nanoseconds since 1970) in UTC, as `created_at` has it."""
    return _rfc3339(ns, timezone(timedelta(0)))


def local_timestamp(ns: int) -> str:
    """A moment with this machine's offset from UTC, as `modified_at` has it."""
    offset_seconds = time.localtime(ns // 1_000_000_000).tm_gmtoff
    return _rfc3339(ns, timezone(timedelta(seconds=offset_seconds)))


def _rfc3339(ns: int, zone: timezone) -> str:
    """Nanoseconds keep up to nine digits; zeros at their end are cut (Go time.RFC3339Nano)."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    offset_minutes = int(zone.utcoffset(None).total_seconds()) // 60
    if not offset_minutes:
        return f"{text}Z"
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    return f"{text}{sign}{hours:02d}:{minutes:02d}"
