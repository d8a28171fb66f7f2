"""Replies of list, ps and show as aligned text, with sizes and times in words.

The columns are those of the command line. A reply may come from another server of the same
protocol, so a field that is missing is a blank, never an error.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ollama_jupyter.notebook.inert import plain
from ollama_jupyter.quantities import human_bytes, human_time

_GAP = "    "
_SHORT_DIGEST = 12


def models_table(reply: Mapping[str, Any], prefix: str, now: datetime) -> str:
    """The installed models whose names start with the prefix, case aside; newest as replied."""
    rows = [
        (
            _text(model, "name"),
            _text(model, "digest")[:_SHORT_DIGEST],
            human_bytes(_number(model, "size")),
            human_time(_seconds_from(now, _text(model, "modified_at")), zero_text="Never"),
        )
        for model in _models(reply)
        if _text(model, "name").lower().startswith(prefix.lower())
    ]
    if not rows:
        return f"No model starts with {prefix!r}." if prefix else "No models are installed."
    return _table(("NAME", "ID", "SIZE", "MODIFIED"), rows)


def loaded_table(reply: Mapping[str, Any], prefix: str, now: datetime) -> str:
    """The models in memory whose names start with the prefix."""
    rows = [
        (
            _text(model, "name"),
            human_bytes(_number(model, "size")),
            _processor(_number(model, "size"), _number(model, "size_vram")),
            str(_number(model, "context_length") or ""),
            _until(now, _text(model, "expires_at")),
        )
        for model in _models(reply)
        if _text(model, "name").startswith(prefix)
    ]
    if not rows:
        return "No model is loaded."
    return _table(("NAME", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"), rows)


def shown_model(reply: Mapping[str, Any]) -> str:
    """What a model is: its figures, capabilities, parameters, system text and licence."""
    details = _mapping(reply, "details")
    info = _mapping(reply, "model_info")
    architecture = str(info.get("general.architecture", "") or _text(details, "family"))
    facts = [
        ("architecture", architecture),
        ("parameters", _text(details, "parameter_size")),
        ("context length", str(info.get(f"{architecture}.context_length", ""))),
        ("embedding length", str(info.get(f"{architecture}.embedding_length", ""))),
        ("quantization", _text(details, "quantization_level")),
    ]
    sections = [("Model", [f"{name:<20}{value}" for name, value in facts if value])]
    capabilities = reply.get("capabilities") or ()
    sections.append(("Capabilities", [str(capability) for capability in capabilities]))
    sections.append(("Parameters", _text(reply, "parameters").splitlines()))
    sections.append(("System", _first_lines(_text(reply, "system"))))
    sections.append(("License", _first_lines(_text(reply, "license"))))
    return "\n\n".join(
        "\n".join([title, *(f"{_GAP}{plain(line)}" for line in lines)])
        for title, lines in sections
        if lines
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [header, *(tuple(plain(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _processor(size: int, size_vram: int) -> str:
    """Where a model lies, by its bytes in all and its bytes on a GPU."""
    if size_vram == 0:
        return "100% CPU"
    if size_vram == size:
        return "100% GPU"
    if size_vram > size:
        return "Unknown"
    cpu = round(100 * (size - size_vram) / size)
    return f"{cpu}%/{100 - cpu}% CPU/GPU"


def _until(now: datetime, text: str) -> str:
    seconds = _seconds_from(now, text)
    if seconds is not None and seconds <= 0:
        return "Stopping..."
    return human_time(seconds, zero_text="Never")


def _seconds_from(now: datetime, text: str) -> float | None:
    """How far ahead an RFC 3339 time lies; None for the zero time and for no time at all."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return None if moment.year <= 1 else (moment - now).total_seconds()


def _first_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [*lines[:2], "..."] if len(lines) > 2 else lines


def _models(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    models = reply.get("models")
    return [model for model in models if isinstance(model, dict)] if models else []


def _mapping(reply: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = reply.get(name)
    return value if isinstance(value, dict) else {}


def _text(reply: Mapping[str, Any], name: str) -> str:
    value = reply.get(name)
    return value if isinstance(value, str) else ""


def _number(reply: Mapping[str, Any], name: str) -> int:
    value = reply.get(name)
    return value if isinstance(value, int) else 0
