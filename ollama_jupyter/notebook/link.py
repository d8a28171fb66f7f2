"""The server a kernel uses, and the conversations held with it.

The server is looked up for every cell, because it may have ended, moved or been started since the
last one; a look-up costs a file read and one request. The conversations stay here, so they outlive
a server that was restarted between two cells.
"""

import os

from ollama_jupyter.client.conversation import Conversation
from ollama_jupyter.client.daemon import Connection, find, find_or_start
from ollama_jupyter.config import Config, Host


class Link:
    """Finds the server anew for each call, and keeps one conversation a model."""

    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = {}
        self._warned: set[str] = set()

    def find(self, address: str) -> Connection | None:
        """The running server, None when there is none.

        Args:
            address: as `c.OllamaMagics.host` spells it; "" leaves it to the environment.

        Raises:
            OllamaError: another machine was named and does not answer, or the records are not ours.
        """
        return find(_config(), host=_host(address))

    def find_or_start(self, address: str) -> Connection:
        """The running server, or one started now.

        Raises:
            OllamaError: none was found and none could be started.
        """
        return find_or_start(_config(), host=_host(address))

    def new_warnings(self, connection: Connection) -> list[str]:
        """The connection's warnings that this kernel has not shown yet."""
        fresh = [warning for warning in connection.warnings if warning not in self._warned]
        self._warned.update(fresh)
        return fresh

    def conversation(self, connection: Connection, model: str) -> Conversation:
        """The conversation with a model so far, going on over this connection."""
        conversation = self._conversations.get(model)
        if conversation is None:
            conversation = self._conversations[model] = Conversation(connection.client, model)
        conversation.client = connection.client
        return conversation

    def forget(self, model: str) -> list[str]:
        """Drop the conversation with a model, or all of them for ""; names those there were."""
        names = [name for name in self._conversations if model in ("", name)]
        for name in names:
            del self._conversations[name]
        return names


def _config() -> Config:
    return Config.from_environment(os.environ)


def _host(address: str) -> Host | None:
    return Host.parse(address) if address else None
