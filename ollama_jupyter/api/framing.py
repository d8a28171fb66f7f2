"""How records become a stream: one JSON object a line, or server-sent events."""

from typing import Final

from ollama_jupyter.api.native import encode

NDJSON_CONTENT_TYPE: Final = "application/x-ndjson"
SSE_CONTENT_TYPE: Final = "text/event-stream"

SSE_DONE: Final = b"data: [DONE]\n\n"
"""The event that ends a stream of the OpenAI kind."""


def ndjson(record: object) -> bytes:
    """One line of a native stream."""
    return encode(record) + b"\n"


def sse(record: object, *, event: str | None = None) -> bytes:
    """One server-sent event; `event` is its name, None for one that has none."""
    # Encoded JSON holds no line end, so one data line is enough.
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + encode(record) + b"\n\n"
