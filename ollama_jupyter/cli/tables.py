"""Aligned text, and the moments and shares in its cells; pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from ollama_jupyter.cli.terminal import inert
from ollama_jupyter.quantities import human_bytes, human_time

GAP: Final = "    "
_ID_DIGITS: Final = 12


def render_table(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, each followed by a gap, so that lines end in blanks."""
    cells = [[inert(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(_columns(cells))]
    lines = ("".join(f"{cell:<{widths[i]}}{GAP}" for i, cell in enumerate(row)) for row in cells)
    return "".join(f"{line}\n" for line in lines)


def _columns(rows: Sequence[Sequence[str]]) -> int:
    return max((len(row) for row in rows), default=0)


def models_table(models: Sequence[dict[str, Any]], *, prefix: str, now: datetime) -> str:
    """The installed models whose names begin with a prefix, in either case."""
    rows = [["NAME", "ID", "SIZE", "MODIFIED"]]
    for model in models:
        name = str(model.get("name") or "")
        if name.lower().startswith(prefix.lower()):
            size = human_bytes(int(model.get("size") or 0))
            rows.append(
                [
                    name,
                    _short_id(model),
                    "-" if model.get("remote_model") else size,
                    human_time(seconds_ahead(model.get("modified_at"), now), zero_text="Never"),
                ]
            )
    return render_table(rows)


def loaded_table(models: Sequence[dict[str, Any]], *, prefix: str, now: datetime) -> str:
    """The loaded models whose names begin with a prefix."""
    rows = [["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]]
    for model in models:
        name = str(model.get("name") or "")
        if name.startswith(prefix):
            size, vram = int(model.get("size") or 0), int(model.get("size_vram") or 0)
            rows.append(
                [
                    name,
                    _short_id(model),
                    human_bytes(size),
                    processor(size, vram),
                    str(model.get("context_length") or 0),
                    until(seconds_ahead(model.get("expires_at"), now)),
                ]
            )
    return render_table(rows)


def _short_id(model: dict[str, Any]) -> str:
    return str(model.get("digest") or "").removeprefix("sha256:")[:_ID_DIGITS]


def processor(size_bytes: int, vram_bytes: int) -> str:
    """Where a model lies: `100% CPU`, `100% GPU`, or the share of each."""
    if vram_bytes == 0:
        return "100% CPU"
    if vram_bytes == size_bytes:
        return "100% GPU"
    if size_bytes == 0 or vram_bytes > size_bytes:
        return "Unknown"
    # Half goes away from zero, as Go rounds.
    cpu = int((size_bytes - vram_bytes) / size_bytes * 100 + 0.5)
    return f"{cpu}%/{100 - cpu}% CPU/GPU"


def until(seconds: float | None) -> str:
    """When an idle model is unloaded, given how far ahead that is; None for the zero time."""
    if seconds is not None and seconds <= 0:
        return "Stopping..."
    return human_time(seconds, zero_text="Never")


def seconds_ahead(text: object, now: datetime) -> float | None:
    """How far after `now` an RFC 3339 moment lies; None for the zero time or no moment."""
    if not isinstance(text, str) or text.startswith("0001-"):
        return None
    # Python keeps six digits of a second, Go writes nine.
    whole, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    try:
        moment = datetime.fromisoformat(whole + (dot + rest[:digits][:6] + rest[digits:]))
    except ValueError:
        return None
    return (moment - now).total_seconds() if moment.tzinfo is not None else None
