"""A second model, with weights of its own."""

import hashlib
from pathlib import Path

from scripts.weights import embedded_model
from tests.end_to_end.rest import Rest

SECOND_MODEL = "second:latest"


def altered_copy(folder: Path) -> Path:
    """The same model with another digest: one letter of a name in its metadata is changed."""
    data = bytearray(embedded_model().read_bytes())
    key = b"general.name"
    at = data.index(key) + len(key) + 4 + 8  # the value's type and length lie between
    data[at] = ord("Z")
    target = folder / "altered.gguf"
    target.write_bytes(data)
    return target


def install_second_model(rest: Rest, folder: Path) -> None:
    """Upload altered weights and make a model of them, as any client does."""
    data = altered_copy(folder).read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    connection = rest.send_bytes("POST", f"/api/blobs/{digest}", data)
    assert connection.getresponse().status == 201
    connection.close()
    records = rest.records("/api/create", {"model": SECOND_MODEL, "files": {"a.gguf": digest}})
    assert records[-1] == {"status": "success"}
