"""The contract's rules of comparison: what a result must have in common with what is expected.

`difference` gives None when a result will do, else one line that says where it does not. Results
and expectations are JSON values (tuples count as lists).
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from ollama_jupyter.api.types import JSON
from tests.contract.cases import Key

_EMPTY: tuple[JSON, ...] = (None, "", [], {}, False, 0)
_DAY = re.compile(r"\{(TODAY|YESTERDAY):([^}]*)\}")
_ABSENT = object()


def difference(key: Key, expect: JSON, result: JSON) -> str | None:
    """Where the result of a call that succeeded is not what the case expects."""
    result = plain(result)
    if key[0] == "template":
        expect = with_dates(expect, datetime.now())
    rule = _RULES.get(key, _RULES.get((key[0], "*"), full))
    return rule(expect, result)


def error_difference(expect: JSON, message: str) -> str | None:
    """Where an error's text is not what the case expects; a case that expects none says so."""
    if isinstance(expect, dict):
        part = expect.get("error_contains")
        if isinstance(part, str):
            return None if part in message else f"error {message!r} lacks {part!r}"
        error = expect.get("error")
        if error is True or error == message:
            return None
        if isinstance(error, str):
            return f"error {message!r} is not {error!r}"
    return f"failed: {message}"


def expects_error(expect: JSON) -> bool:
    """Whether a case is about a call that fails."""
    return isinstance(expect, dict) and ("error_contains" in expect or "error" in expect)


def plain(value: JSON) -> JSON:
    """A result with lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def with_dates(value: JSON, now: datetime) -> JSON:
    """An expectation with its date marks filled in."""
    if isinstance(value, dict):
        return {key: with_dates(entry, now) for key, entry in value.items()}
    if isinstance(value, str):
        return _DAY.sub(
            lambda mark: (now - timedelta(days=mark[1] == "YESTERDAY")).strftime(mark[2]), value
        )
    return value


def is_equal(first: JSON, second: JSON) -> bool:
    """Equality of JSON values: numbers by value, a truth value is no number."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            is_entry_equal(key, first[key], second[key]) for key in first
        )
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(is_equal, first, second))
    return bool(first == second)


def is_entry_equal(key: str, first: JSON, second: JSON) -> bool:
    """Equality of the values of one key; a key `…_any_order` holds a set."""
    if key.endswith("_any_order") and isinstance(first, list) and isinstance(second, list):
        first, second = (sorted(entries, key=_sort_key) for entries in (first, second))
    return is_equal(first, second)


def _sort_key(value: JSON) -> str:
    return json.dumps(value, sort_keys=True)


def is_empty(value: JSON) -> bool:
    """Whether a value counts as absent: null, "", [], {}, false or 0."""
    return any(is_equal(value, empty) for empty in _EMPTY)


def full(expect: JSON, result: JSON) -> str | None:
    """Every expected key equal, every other one empty."""
    if not isinstance(expect, dict) or not isinstance(result, dict):
        return None if is_equal(expect, result) else _unequal("result", expect, result)
    for key in expect.keys() | result.keys():
        wanted, got = expect.get(key, _ABSENT), result.get(key, _ABSENT)
        if wanted is _ABSENT:
            if not is_empty(got):
                return f"{key}: unexpected {_short(got)}"
        elif got is _ABSENT:
            if wanted not in (None, "", [], {}) or isinstance(wanted, bool | int):
                return f"{key}: missing, expected {_short(wanted)}"
        elif not is_entry_equal(key, wanted, got):
            return _unequal(key, wanted, got)
    return None


def only_given(expect: JSON, result: JSON) -> str | None:
    """Every expected key equal, whatever else there is."""
    if not isinstance(expect, dict) or not isinstance(result, dict):
        return full(expect, result)
    return full(expect, {key: result[key] for key in expect if key in result})


def native_request(expect: JSON, result: JSON) -> str | None:
    """`request`, full at its top; nested values with what is empty left out; tools by name."""
    wanted = {key: without_empty(value) for key, value in expect["request"].items()}
    request = dict(result["request"])
    if "tool_names" in wanted:
        tools = request.pop("tools", None) or []
        request["tool_names"] = [tool["function"]["name"] for tool in tools]
    return full(wanted, {key: without_empty(value) for key, value in request.items()})


def without_empty(value: JSON) -> JSON:
    """A value without the keys that hold null, "", [] or {}."""
    if isinstance(value, dict):
        kept = {key: without_empty(entry) for key, entry in value.items()}
        return {k: v for k, v in kept.items() if v is not None and v not in ("", [], {})}
    return [without_empty(entry) for entry in value] if isinstance(value, list) else value


def http_reply(expect: JSON, result: JSON) -> str | None:
    """Status and, when given, text or JSON; the JSON exact but for its ignored keys."""
    ignored = expect.get("ignore", [])
    wanted = {key: value for key, value in expect.items() if key != "ignore"}
    body = result.get("json")
    if ignored and isinstance(body, dict):
        result = {**result, "json": {k: v for k, v in body.items() if k not in ignored}}
    return only_given(wanted, result)


def at_most(expect: JSON, result: JSON) -> str | None:
    """An upper bound on calls of the tokenizer."""
    limit, calls = expect["max_tokenize_calls"], result["max_tokenize_calls"]
    return None if calls <= limit else f"{calls} calls of the tokenizer, at most {limit} wanted"


_RULES: dict[Key, Callable[[JSON, JSON], str | None]] = {
    ("api-types", "options-json"): only_given,
    ("capabilities", "template-choice"): only_given,
    ("model-name", "parse"): only_given,
    ("model-ref", "ParseRef"): only_given,
    ("chat-prompt", "tokenize-calls"): at_most,
    ("http", "empty-store"): http_reply,
    ("anthropic", "messages-request"): native_request,
    ("openai-chat-map", "chat-request"): native_request,
    ("openai-completion-map", "completion-request"): native_request,
    ("openai-responses-map", "responses-request"): native_request,
}


def _unequal(key: str, wanted: JSON, got: JSON) -> str:
    return f"{key}: got {_short(got)}, expected {_short(wanted)}"


def _short(value: JSON) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
