"""The text layers of a model and what they hold."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ollama_jupyter.api.decode import decode
from ollama_jupyter.api.types import JSON, Message
from ollama_jupyter.errors import BadRequest, StoreError
from ollama_jupyter.store.manifests import MESSAGES, PARAMS, Layer
from ollama_jupyter.store.store import Store

TEXT_LIMIT_BYTES: Final = 8 << 20
"""The largest text layer that is read."""


class _Messages(msgspec.Struct, frozen=True, kw_only=True):
    messages: tuple[Message, ...] = ()


class Texts:
    """The texts among the layers of a model, read when they are asked for.

    Every method raises NotFound when a blob is missing and StoreError when it is damaged.
    """

    def __init__(self, store: Store, layers: Sequence[Layer]) -> None:
        self._store = store
        self._layers = layers

    def all(self, *media_types: str) -> tuple[str, ...]:
        """The text of every layer of these kinds, in order."""
        return tuple(
            self._store.blobs.read(layer.digest, TEXT_LIMIT_BYTES).decode("utf-8", "replace")
            for layer in self._layers
            if layer.media_type in media_types
        )

    def last(self, *media_types: str) -> str:
        """The text of the last of them, which counts; "" when there is none."""
        texts = self.all(*media_types)
        return texts[-1] if texts else ""

    def parameters(self) -> dict[str, JSON]:
        """The options the layers bring; {} when there are none."""
        text = self.last(PARAMS)
        if not text:
            return {}
        try:
            parameters: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise StoreError(f"the parameters of the model are damaged: {error}") from error
        return parameters

    def messages(self) -> tuple[Message, ...]:
        """The conversation the model starts with."""
        text = self.last(MESSAGES)
        if not text:
            return ()
        try:
            return decode(_Messages, b'{"messages":' + text.encode() + b"}").messages
        except BadRequest as error:
            raise StoreError(f"the messages of the model are damaged: {error}") from error
