"""Commands on installed and loaded models: list, ps, stop, cp, rm; and the versions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from ollama_jupyter.cli.connect import connect, connect_or_start, read_config
from ollama_jupyter.cli.tables import loaded_table, models_table
from ollama_jupyter.cli.terminal import inert
from ollama_jupyter.client import calls
from ollama_jupyter.client.daemon import find
from ollama_jupyter.client.sync import Client
from ollama_jupyter.errors import NotFound, OllamaError, ServerError
from ollama_jupyter.version import __version__


def print_versions() -> None:
    """The server's version, and ours where it differs; works without a server."""
    reply = None
    try:
        connection = find(read_config())
        if connection is not None:
            reply = connection.client.request(calls.version())
    except OllamaError:
        pass  # an answer that tells no version is told as no answer
    server = inert(str(reply.get("version", ""))) if isinstance(reply, dict) else ""
    if server:
        click.echo(f"ollama version is {server}")
    else:
        click.echo("Warning: could not connect to a running Ollama instance")
    if server != __version__:
        click.echo(f"Warning: client version is {__version__}")


def list_models(prefix: str) -> None:
    """Print the installed models whose names begin with a prefix.

    Raises:
        OllamaError: there is no server and none could be started.
    """
    client = connect_or_start(read_config()).client
    models = listed(client.request(calls.list_()))
    click.echo(models_table(models, prefix=prefix, now=datetime.now(UTC)), nl=False)


def list_loaded(prefix: str) -> None:
    """Print the loaded models; starts no server.

    Raises:
        OllamaError: there is no server.
    """
    models = listed(connect(read_config()).client.request(calls.ps()))
    click.echo(loaded_table(models, prefix=prefix, now=datetime.now(UTC)), nl=False)


def listed(reply: object) -> list[dict[str, Any]]:
    """The models in a reply of tags or ps; none when it has another form."""
    models = reply.get("models") if isinstance(reply, dict) else None
    return [entry for entry in models or () if isinstance(entry, dict)]


def stop_model(model: str) -> None:
    """Unload a model; starts no server.

    Raises:
        NotFound: the server has no such model.
        OllamaError: there is no server.
    """
    _unload(connect(read_config()).client, model)


def _unload(client: Client, model: str) -> None:
    try:
        client.request(calls.unload(model))
    except ServerError as error:
        if error.http_status == 404:
            raise NotFound(f'couldn\'t find model "{model}" to stop') from error
        raise


def copy_model(source: str, destination: str) -> None:
    """Give a model a second name.

    Raises:
        OllamaError: there is no such model, or a name is none.
    """
    connect_or_start(read_config()).client.request(calls.copy(source, destination))
    click.echo(f"copied '{source}' to '{destination}'")


def remove_models(models: Sequence[str]) -> None:
    """Unload and remove models in turn.

    Raises:
        OllamaError: one could not be removed; those before it are gone.
    """
    client = connect_or_start(read_config()).client
    for model in models:
        try:
            _unload(client, model)
        except NotFound:
            pass  # removing it says so, in its own words
        except OllamaError:
            click.echo(f"Warning: unable to stop model '{model}'", err=True)
        client.request(calls.delete(model))
        click.echo(f"deleted '{model}'")
