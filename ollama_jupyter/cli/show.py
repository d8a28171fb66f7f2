"""`show`: what a model is made of."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from ollama_jupyter.cli.connect import connect_or_start, read_config
from ollama_jupyter.cli.tables import render_table
from ollama_jupyter.cli.terminal import inert
from ollama_jupyter.client import calls
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import human_number

_SHOWN_LINES: Final = 2
_ARRAY_COLUMNS: Final = 10
Row = Sequence[str]


def show_model(model: str, *, sections: Sequence[str], is_verbose: bool) -> None:
    """Print a model, or one section of it as it is stored.

    Raises:
        BadRequest: more than one section was asked for.
        OllamaError: there is no such model, or no server.
    """
    if len(sections) > 1:
        raise BadRequest(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template'"
            " can be specified"
        )
    client = connect_or_start(read_config()).client
    shown = client.request(calls.show(model, verbose=is_verbose))
    if not sections:
        click.echo(render_model(shown, is_verbose=is_verbose), nl=False)
        return
    text = inert(str(shown.get(sections[0]) or ""))
    click.echo(text, nl=sections[0] in ("license", "modelfile", "parameters"))


def render_model(shown: Mapping[str, Any], *, is_verbose: bool = False) -> str:
    """The overview: a section a topic, each with indented rows and a blank line after it."""
    info = _mapping(shown, "model_info")
    parts = [_section("Model", _model_rows(shown, info))]
    capabilities = [str(name) for name in shown.get("capabilities") or ()]
    parts.append(_section("Capabilities", [[name] for name in capabilities]))
    parts.append(_section("Projector", _projector_rows(_mapping(shown, "projector_info"))))
    parameters = str(shown.get("parameters") or "").splitlines()
    parts.append(_section("Parameters", [line.split(None, 1) for line in parameters]))
    if is_verbose:
        rows = [[key, _value(info[key])] for key in sorted(info)]
        parts.append(_section("Metadata", rows))
        parts.append(_section("Tensors", [_tensor_row(t) for t in shown.get("tensors") or ()]))
    for title in ("System", "License"):
        text = str(shown.get(title.lower()) or "")
        parts.append(_section(title, [[line] for line in first_lines(text)]))
    return "".join(parts)


def _section(title: str, rows: Sequence[Row]) -> str:
    return f"  {title}\n{render_table([['', *row] for row in rows])}\n" if rows else ""


def _mapping(shown: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = shown.get(name)
    return value if isinstance(value, dict) else {}


def _model_rows(shown: Mapping[str, Any], info: Mapping[str, Any]) -> list[Row]:
    details = _mapping(shown, "details")
    architecture = str(info.get("general.architecture") or details.get("family") or "")
    count = info.get("general.parameter_count")
    parameters = human_number(int(count)) if count else str(details.get("parameter_size") or "")
    facts = [
        ("architecture", architecture),
        ("parameters", parameters),
        ("context length", _number(info.get(f"{architecture}.context_length"))),
        ("embedding length", _number(info.get(f"{architecture}.embedding_length"))),
        ("quantization", str(details.get("quantization_level") or "")),
        ("requires", str(shown.get("requires") or "")),
    ]
    return [fact for fact in facts if fact[1]]


def _projector_rows(info: Mapping[str, Any]) -> list[Row]:
    architecture = str(info.get("general.architecture") or "")
    count = info.get("general.parameter_count")
    facts = [
        ("architecture", architecture),
        ("parameters", human_number(int(count)) if count else ""),
        ("embedding length", _number(info.get(f"{architecture}.vision.embedding_length"))),
        ("dimensions", _number(info.get(f"{architecture}.vision.projection_dim"))),
    ]
    return [fact for fact in facts if fact[1]]


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, int | float) else ""


def _tensor_row(tensor: Mapping[str, Any]) -> Row:
    shape = " ".join(str(size) for size in tensor.get("shape") or ())
    return [str(tensor.get("name", "")), str(tensor.get("type", "")), f"[{shape}]"]


def _value(value: object) -> str:
    """A metadata value in short: arrays as far as they fit, and how many more there are."""
    if isinstance(value, list):
        return _array(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _array(values: Sequence[object]) -> str:
    shown: list[str] = []
    columns = 0
    for position, value in enumerate(values):
        text = _value(value)
        columns += len(text) + 1
        if shown and columns > _ARRAY_COLUMNS:
            return f"[{' '.join(shown)} ...+{len(values) - position} more]"
        shown.append(text)
    return f"[{' '.join(shown)}]"


def first_lines(text: str) -> list[str]:
    """The first lines of a text that hold something, and `...` when there are more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[:_SHOWN_LINES] + (["..."] if len(lines) > _SHOWN_LINES else [])
