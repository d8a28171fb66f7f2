"""`serve` and `shutdown`: the life of the server."""

import click

from ollama_jupyter.cli.connect import read_config
from ollama_jupyter.client.daemon import find, shutdown
from ollama_jupyter.errors import BadRequest


def run_server(*, auto_started: bool) -> None:
    """Be the server until it is told to end.

    Raises:
        OllamaError: it may not, or cannot, listen where it should.
    """
    from ollama_jupyter.server.process import serve

    config = read_config()
    for warning in config.warnings:
        click.echo(f"Warning: {warning}", err=True)
    serve(config, auto_started=auto_started)


def end_server() -> None:
    """End the running server; having none is no error.

    Raises:
        BadRequest: the server that answers was not started by this package.
        ServerUnreachable: it would not end.
    """
    connection = find(read_config())
    if connection is None:
        click.echo("no server is running")
        return
    url = connection.client.host.url
    if connection.record is None:
        raise BadRequest(f"the server at {url} is not ours; end it where it was started")
    shutdown(connection.record)
    click.echo(f"ended the server at {url} (pid {connection.record.pid})")
