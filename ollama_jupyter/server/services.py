"""What the answering functions work with: one object, made at start, the same for all requests."""

from dataclasses import dataclass, field

from ollama_jupyter.inference.rooms import Rooms
from ollama_jupyter.server.activity import Activity
from ollama_jupyter.server.events import Events
from ollama_jupyter.server.origins import Gate
from ollama_jupyter.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one client may take up.

    Attributes:
        json_bytes: largest JSON body; images travel in it.
        discard_bytes: largest body that is read and thrown away when its request is refused; the
            connection of a larger one is closed instead.
        read_seconds: how long a body may stand still before its connection is closed.
        write_seconds: how long a client may refuse to take what was written for it.
    """

    json_bytes: int = 64 << 20
    discard_bytes: int = 1 << 20
    read_seconds: float = 60.0
    write_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The rooms below, and what only the server has."""

    rooms: Rooms
    store: Store
    gate: Gate
    activity: Activity
    events: Events = field(default_factory=Events)
    limits: Limits = field(default_factory=Limits)
