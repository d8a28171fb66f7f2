"""The store as a whole: what survives when a writer is killed at any step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_jupyter.errors import NotFound, StoreError
from ollama_jupyter.names import ModelName
from ollama_jupyter.store.store import Store
from tests.store.making import put_manifest

# Replaces one model by another, and kills itself before the n-th of the calls that touch the disk.
_WRITER = """
import os, signal, sys
from pathlib import Path
from ollama_jupyter.names import ModelName
from ollama_jupyter.store.manifests import CONFIG, MODEL, Layer, Manifest
from ollama_jupyter.store.store import Store

root, left = Path(sys.argv[1]), int(sys.argv[2])

def counted(call):
    def count(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*args, **kwargs)
    return count

for name in ("write", "fsync", "unlink", "rename", "replace", "open", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))

store = Store(root)
store.prepare()
lease = store.leases.open()
layers = []
for kind, content in ((CONFIG, b"{}"), (MODEL, b"new weights")):
    digest = store.blobs.put(content)
    lease.add(digest)
    layers.append(Layer(media_type=kind, digest=digest, size=len(content)))
name = ModelName.parse("model")
old = store.manifests.read(name)
store.manifests.write(name, Manifest(config=layers[0], layers=(layers[1],)))
lease.close()
store.remove_unused(old.manifest.digests)
print("done")
"""


def _run_writer(root: Path, kill_before: int) -> bool:
    """Let the writer work on a store; whether it came to its end."""
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(root), str(kill_before)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != -signal.SIGKILL:
        assert done.returncode == 0, done.stderr
    return done.stdout == "done\n"


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_model_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    outcomes: set[bytes] = set()
    is_done = False
    for step in range(0, 200, 4):
        root = tmp_path / str(step)
        put_manifest(root, "registry.ollama.ai/library/model/latest", [("model", b"old weights")])
        is_done = _run_writer(root, step)
        store = Store(root)
        store.prepare()
        (stored,) = store.manifests.list()
        (weights,) = stored.manifest.layers
        for layer in stored.manifest.blobs:
            assert store.blobs.verify(layer.digest)
        outcomes.add(store.blobs.read(weights.digest, 100))
        left = {path.name for path in (root / ".ingest").glob("*")}
        assert left <= {"lock"}
        if is_done:
            break
    assert is_done
    assert outcomes == {b"old weights", b"new weights"}


def test_store_that_can_only_be_read_serves_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_manifest(tmp_path, "registry.ollama.ai/library/model/latest", [("model", b"weights")])
    plain_open, plain_mkdir = os.open, Path.mkdir

    def refuse_writing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return plain_open(path, flags, mode)

    def refuse_new(
        self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False
    ) -> None:
        if not self.is_dir():
            raise OSError(30, "Read-only file system")
        plain_mkdir(self, mode, parents, exist_ok)

    monkeypatch.setattr(os, "open", refuse_writing)
    monkeypatch.setattr(Path, "mkdir", refuse_new)
    store = Store(tmp_path)
    store.prepare()
    name = ModelName.parse("model")
    stored = store.manifests.read(name)
    assert store.blobs.read(stored.manifest.layers[0].digest, 100) == b"weights"
    with pytest.raises(StoreError, match="read-only"):
        store.blobs.put(b"more")
    with pytest.raises(StoreError, match="read-only"):
        store.manifests.write(name, stored.manifest)
    monkeypatch.undo()
    assert store.manifests.read(name) == stored
    with pytest.raises(NotFound):
        store.manifests.read(ModelName.parse("other"))
