"""Stores for tests, made file by file as the reference makes them, not by the code under test."""

import hashlib
import json
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.ollama.image."
CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def put(root: Path, data: bytes, *, old_name: bool = False) -> dict[str, Any]:
    """Write a blob; its digest and size, as a layer has them."""
    digest = hashlib.sha256(data).hexdigest()
    folder = root / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"sha256{':' if old_name else '-'}{digest}").write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def put_manifest(
    root: Path,
    path: str,
    layers: list[tuple[str, bytes]],
    *,
    old_names: bool = False,
    **config: object,
) -> bytes:
    """Write a model of these layers (kind, content) and its config; the manifest's bytes."""
    fields: dict[str, object] = {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
    }
    fields |= {"model_type": "160", "file_type": "F16", **config}
    config_layer = put(root, json.dumps(fields).encode(), old_name=old_names)
    entries = [
        {"mediaType": MEDIA + kind, **put(root, data, old_name=old_names)} for kind, data in layers
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **config_layer},
        "layers": entries,
    }
    raw = json.dumps(manifest, indent=1).encode()
    file = root / "manifests" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(raw)
    return raw


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every entry below a folder with its mode, time and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (state.st_mode, state.st_mtime_ns, content)
    return found


def blob_names(root: Path) -> set[str]:
    """Names of the files among the blobs."""
    return {path.name for path in (root / "blobs").iterdir()}
