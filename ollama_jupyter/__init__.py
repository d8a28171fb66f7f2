"""Local language models in Jupyter: one managed server, with cells, a command line and REST."""

from typing import TYPE_CHECKING, Any

from ollama_jupyter.version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ollama_jupyter.client.conversation import Conversation
    from ollama_jupyter.client.sync import Client


__all__ = ["Conversation", "__version__", "connect"]


def load_ipython_extension(ipython: "InteractiveShell") -> None:
    """Register `%ollama` and `%%chat`; IPython calls this on `%load_ext ollama_jupyter`."""
    from ollama_jupyter.notebook.magics import load

    load(ipython)


def unload_ipython_extension(ipython: "InteractiveShell") -> None:
    """Take the magics away again, and forget their conversations; for `%unload_ext`."""
    from ollama_jupyter.notebook.magics import unload

    unload(ipython)


def connect(host: str = "") -> "Client":
    """A client of the server at `host`, or of the one found or started when it is empty.

    Raises:
        ServerUnreachable: no server is at that address, and none can be started there.
    """
    import os

    from ollama_jupyter.client.daemon import find_or_start
    from ollama_jupyter.config import Config, Host

    config = Config.from_environment(os.environ)
    return find_or_start(config, host=Host.parse(host) if host else None).client


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """The public names that live in a room, looked up when first used."""
    if name == "Conversation":
        from ollama_jupyter.client.conversation import Conversation

        return Conversation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
