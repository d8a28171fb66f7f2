"""`create`: reads a Modelfile, hands its files over, and shows how far the server is."""

import os.path
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import msgspec

from ollama_jupyter.cli.connect import connect_or_start, read_config
from ollama_jupyter.cli.progress import Progress
from ollama_jupyter.client import calls
from ollama_jupyter.client.sync import Client
from ollama_jupyter.errors import BadRequest, InvalidName
from ollama_jupyter.modelfile.commands import CreatePlan, plan_create
from ollama_jupyter.modelfile.parser import decode_text, parse
from ollama_jupyter.names import ModelName


def create_model(model: str, *, path: str | None, quantize: str) -> None:
    """Make a model from a Modelfile; `FROM .` when there is none.

    Raises:
        BadRequest: the name or the Modelfile is wrong, or a file cannot be read.
        OllamaError: the server refused.
    """
    try:
        ModelName.parse(model)
    except InvalidName as error:
        raise InvalidName(f"invalid model name: {model}") from error
    plan = read_plan(Path(path or "Modelfile"))
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    client = connect_or_start(read_config()).client
    with Progress() as progress:
        progress.status("gathering model components")
        files = _upload(client, plan.files, progress)
        adapters = _upload(client, plan.adapters, progress)
        request = plan.request(model, files=files, adapters=adapters)
        if quantize:
            request = msgspec.structs.replace(request, quantize=quantize)
        with client.stream(calls.create(request)) as records:
            for record in records:
                progress.show(record)


def read_plan(path: Path) -> CreatePlan:
    """What the Modelfile at a path asks for.

    Raises:
        BadRequest: it is wrong, or cannot be read.
    """
    try:
        text = decode_text(path.read_bytes())
    except FileNotFoundError:
        text = "FROM ."
    except OSError as error:
        raise BadRequest(f"cannot read {str(path)!r}: {error.strerror}") from error
    return plan_create(parse(text), str(path.parent.absolute()))


def _upload(client: Client, paths: Sequence[Path], progress: Progress) -> dict[str, str]:
    """Digests of the files by the names they have on the server."""
    found = [file for path in paths for file in _weights(path)]
    names = upload_names(found)
    digests = {}
    for file, name in zip(found, names, strict=True):
        progress.status(f"copying file {name}")
        digest = client.upload(file, on_progress=partial(progress.bar, f"copying file {name}"))
        digests[name] = str(digest)
    return digests


def _weights(path: Path) -> list[Path]:
    """The file itself; the GGUF files of a folder.

    Raises:
        BadRequest: the folder holds none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.glob("*.gguf") if file.is_file())
    if not found:
        raise BadRequest(f"no Modelfile or safetensors files found in {str(path)!r}")
    return found


def upload_names(paths: Sequence[Path]) -> list[str]:
    """What each file is called there: its name, or its path below what all have in common."""
    if len(paths) < 2:
        return [path.name for path in paths]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths]
