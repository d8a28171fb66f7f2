"""The server a command talks to, and what is said on the way there."""

import os

import click

from ollama_jupyter.client.daemon import Connection, find, find_or_start
from ollama_jupyter.config import Config
from ollama_jupyter.errors import ServerUnreachable

NO_SERVER = "could not connect to ollama server, run 'ollama_jupyter serve' to start it"


def read_config() -> Config:
    """The settings of this process."""
    return Config.from_environment(os.environ)


def connect_or_start(config: Config) -> Connection:
    """The server, started if need be; what the user should know goes to standard error.

    Raises:
        OllamaError: there is none and none could be started.
    """
    return _warned(find_or_start(config))


def connect(config: Config) -> Connection:
    """The running server; starts none.

    Raises:
        ServerUnreachable: there is none.
        StoreError: the runtime folder is not ours.
    """
    connection = find(config)
    if connection is None:
        raise ServerUnreachable(NO_SERVER)
    return _warned(connection)


def _warned(connection: Connection) -> Connection:
    for warning in connection.warnings:
        click.echo(f"Warning: {warning}", err=True)
    return connection
