"""What `%ollama` can do: each command gives the text the cell shows.

A command gets the link, the address the user configured, and the name on the line. `OllamaError`
passes through to the magic, which makes one line of it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ollama_jupyter.client import calls
from ollama_jupyter.notebook.link import Link
from ollama_jupyter.notebook.tables import loaded_table, models_table, shown_model

Command = Callable[[Link, str, str], str]

_NO_SERVER: Final = "No server is running; %ollama serve starts one, and so does %%chat."


def _serve(link: Link, address: str, _name: str) -> str:
    connection = link.find_or_start(address)
    url = connection.client.host.url
    if not connection.was_started:
        return f"A server is running at {url} already."
    return f"Started a server at {url}; it ends by itself when it has not been used for a while."


def _status(link: Link, address: str, _name: str) -> str:
    connection = link.find(address)
    if connection is None:
        return _NO_SERVER
    version = connection.client.request(calls.version()).get("version", "unknown")
    loaded = connection.client.request(calls.ps()).get("models") or ()
    process = "" if connection.record is None else f", process {connection.record.pid}"
    url = connection.client.host.url
    return f"Running at {url}, version {version}{process}; models in memory: {len(loaded)}."


def _list(link: Link, address: str, name: str) -> str:
    reply = link.find_or_start(address).client.request(calls.list_())
    return models_table(reply, name, datetime.now(UTC))


def _ps(link: Link, address: str, name: str) -> str:
    connection = link.find(address)
    if connection is None:
        return _NO_SERVER
    return loaded_table(connection.client.request(calls.ps()), name, datetime.now(UTC))


def _show(link: Link, address: str, name: str) -> str:
    return shown_model(link.find_or_start(address).client.request(calls.show(name)))


def _stop(link: Link, address: str, name: str) -> str:
    connection = link.find(address)
    if connection is None:
        return _NO_SERVER
    connection.client.request(calls.unload(name))
    return f"{name} is unloaded."


def _reset(link: Link, _address: str, name: str) -> str:
    forgotten = link.forget(name)
    if not forgotten:
        return f"There is no conversation with {name}." if name else "There is no conversation yet."
    return f"Forgot the conversation with {', '.join(forgotten)}."


def _pull(_link: Link, _address: str, name: str) -> str:
    return f"%ollama pull comes in a later version; nothing was downloaded for {name}."


COMMANDS: Final[Mapping[str, Command]] = {
    "serve": _serve,
    "status": _status,
    "list": _list,
    "ps": _ps,
    "show": _show,
    "stop": _stop,
    "reset": _reset,
    "pull": _pull,
}
