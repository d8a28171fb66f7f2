"""A conversation with a model, kept by the client and sent whole with every turn.

Whatever happens to a turn, what was said stays: an answer that was interrupted, or that the server
broke off, is kept as far as it came, with the question before it.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ollama_jupyter.api.types import JSON, ChatRequest, Message, ToolCall
from ollama_jupyter.client import calls
from ollama_jupyter.client.sync import Client, Stream
from ollama_jupyter.errors import ServerError, ServerUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one record of a reply brought.

    Attributes:
        content: text of the answer.
        thinking: text of the model's thinking.
        tool_calls: calls the model wants made.
        status: "queued", "loading" or "prefill" before the first text; else "".
        completed: bytes loaded or tokens read so far, of `total`; only with a status.
        final: the last record as sent, with its figures; None on all others.
    """

    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    status: str = ""
    completed: int = 0
    total: int = 0
    final: dict[str, Any] | None = None


Pieces = Generator[Piece, None, None]
"""An answer as it arrives; closing it stops the work behind it."""


@dataclass(slots=True, kw_only=True)
class Settings:
    """What goes with every turn until it is changed.

    Attributes:
        options: the model's options; only those set here are sent.
        format: "json", a schema, or None.
        think: True, False, a level, or None to leave it to the model.
        keep_alive: how long the model stays loaded afterwards; None leaves it to the server.
        progress: whether loading and reading the prompt are reported, where the server can.
    """

    options: dict[str, JSON] = field(default_factory=dict)
    format: JSON = None
    think: bool | str | None = None
    keep_alive: str | float | None = None
    progress: bool = False


class Conversation:
    """The messages so far, and a way to add a turn.

    Args:
        client: talks to the server.
        model: the model's name.
        messages: turns that came before.
        settings: what goes with every turn; may be changed between turns.

    Attributes:
        messages: every turn so far, oldest first; may be changed between turns.
        is_complete: whether the last answer came to its end.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        *,
        messages: Sequence[Message] = (),
        settings: Settings | None = None,
    ) -> None:
        self.client = client
        self.model = model
        self.messages: list[Message] = list(messages)
        self.settings = settings if settings is not None else Settings()
        self.is_complete = True
        self._stream: Stream | None = None

    def send(self, content: str, *, images: tuple[bytes, ...] = ()) -> Pieces:
        """Ask something, and give the answer piece by piece; its last piece has `final`.

        The question joins the messages at once, the answer when the iterator ends, is closed, or
        is left by an exception (an interrupt included): then as far as it came.

        Args:
            content: the text asked.
            images: pictures that go with it, as the bytes of their files.

        Raises:
            ServerError: the server refused, or reported an error in its answer.
            ServerUnreachable: there is no server, or it broke off.
        """
        self.messages.append(Message(role="user", content=content, images=images))
        return self._answer()

    def cancel(self) -> None:
        """Stop the answer that is being given, from any thread; nothing when there is none."""
        stream = self._stream
        if stream is not None:
            stream.close()

    def reset(self) -> None:
        """Forget everything said, system messages excepted."""
        self.messages = [message for message in self.messages if message.role == "system"]
        self.is_complete = True

    def _answer(self) -> Pieces:
        answer = _Answer()
        self.is_complete = False
        try:
            with self.client.stream(calls.chat(self._request())) as stream:
                self._stream = stream
                for record in stream:
                    piece = read_piece(record)
                    answer.add(piece)
                    if piece.final is not None:
                        # Before the last piece is handed out: its reader may never come back.
                        self.is_complete = True
                    yield piece
                if not self.is_complete and not stream.is_closed:
                    raise ServerUnreachable("the server ended its answer without a last record")
        finally:
            self._stream = None
            answer.join(self.messages)

    def _request(self) -> ChatRequest:
        settings = self.settings
        return ChatRequest(
            model=self.model,
            messages=tuple(self.messages),
            options=dict(settings.options) or None,
            format=settings.format,
            think=settings.think,
            keep_alive=settings.keep_alive,
            progress=settings.progress,
        )


@dataclass(slots=True)
class _Answer:
    """An answer as it grows."""

    content: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        self.content.append(piece.content)
        self.thinking.append(piece.thinking)
        self.tool_calls.extend(piece.tool_calls)

    def join(self, messages: list[Message]) -> None:
        """Append what there is as the assistant's message; nothing when it never began."""
        content, thinking = "".join(self.content), "".join(self.thinking)
        if content or thinking or self.tool_calls:
            messages.append(
                Message(
                    role="assistant",
                    content=content,
                    thinking=thinking,
                    tool_calls=tuple(self.tool_calls),
                )
            )


def read_piece(record: dict[str, Any]) -> Piece:
    """What a record of /api/chat or /api/generate brings; fields it lacks are empty.

    Raises:
        ServerError: its tool calls are none.
    """
    if "status" in record:
        return Piece(
            status=str(record["status"]),
            completed=int(record.get("completed") or 0),
            total=int(record.get("total") or 0),
        )
    message = record.get("message") or record
    try:
        tool_calls = msgspec.convert(message.get("tool_calls") or (), tuple[ToolCall, ...])
    except msgspec.ValidationError as error:
        raise ServerError(f"the server sent a malformed tool call: {error}", http_status=200) from (
            error
        )
    return Piece(
        content=str(message.get("content") or record.get("response") or ""),
        thinking=str(message.get("thinking") or ""),
        tool_calls=tool_calls,
        final=record if record.get("done") else None,
    )
