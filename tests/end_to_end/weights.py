"""Files of weights for tests."""

from pathlib import Path

from scripts.weights import embedded_model


def altered_copy(folder: Path) -> Path:
    """The same model with another digest: one letter of a name in its metadata is changed."""
    data = bytearray(embedded_model().read_bytes())
    key = b"general.name"
    at = data.index(key) + len(key) + 4 + 8  # the value's type and length lie between
    data[at] = ord("Z")
    target = folder / "altered.gguf"
    target.write_bytes(data)
    return target
