import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.errors import NotFound, StoreError
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store import manifests as module
from ollama_jupyter.store.layout import Layout
from ollama_jupyter.store.manifests import (
    MODEL,
    Layer,
    Manifest,
    Manifests,
    decode_manifest,
    encode_manifest,
)
from tests.store.making import put_manifest, snapshot

ONE = Layer(media_type=MODEL, digest=Digest("1" * 64), size=100, source="a<b")
TWO = Layer(media_type=module.CONFIG, digest=Digest("2" * 64), size=10)
MANIFEST = Manifest(config=TWO, layers=(ONE,))
NAME = ModelName.parse("llama3")


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    layout = Layout(tmp_path)
    layout.create_ingest()
    return Manifests(layout)


# --- the format -----------------------------------------------------------------------------


def test_manifest_is_written_as_one_compact_line() -> None:
    assert encode_manifest(MANIFEST) == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        b'"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
        b'"digest":"sha256:' + b"2" * 64 + b'","size":10},'
        b'"layers":[{"mediaType":"application/vnd.ollama.image.model",'
        b'"digest":"sha256:' + b"1" * 64 + b'","size":100,"from":"a\\u003cb"}]}\n'
    )


def test_manifest_reads_back_as_written() -> None:
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST
    assert MANIFEST.digests == {ONE.digest, TWO.digest}


GOOD: dict[str, Any] = json.loads(encode_manifest(MANIFEST))


def _with_layer(**changes: object) -> bytes:
    return json.dumps({**GOOD, "layers": [{**GOOD["layers"][0], **changes}]}).encode()


BAD: dict[str, bytes] = {
    "empty": b"",
    "cut": encode_manifest(MANIFEST)[:-30],
    "binary": os.urandom(200) + b"\xff",
    "list": b"[]",
    "null": b"null",
    "no config": json.dumps({**GOOD, "config": None}).encode(),
    "layers an object": json.dumps({**GOOD, "layers": {}}).encode(),
    "digest with ..": _with_layer(digest="sha256:../../etc/passwd"),
    "digest of 63": _with_layer(digest="sha256:" + "1" * 63),
    "digest of 65": _with_layer(digest="sha256:" + "1" * 65),
    "digest of another kind": _with_layer(digest="sha512:" + "1" * 64),
    "digest with NUL": _with_layer(digest="sha256:" + "1" * 63 + "\0"),
    "digest of other digits": _with_layer(digest="sha256:" + "١" * 64),
    "digest null": _with_layer(digest=None),
    "size -1": _with_layer(size=-1),
    "size 2**63": _with_layer(size=2**63),
    "size as text": _with_layer(size="1"),
    "size NaN": _with_layer(size=float("nan")),
    "100,000 layers": json.dumps({**GOOD, "layers": GOOD["layers"] * 10_000}).encode(),
    "5 MB": encode_manifest(MANIFEST) + b" " * (5 << 20),
    "deep": b'{"layers":' + b"[" * 100_000,
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_manifest_hurts_only_its_own_model(manifests: Manifests, name: str) -> None:
    manifests.write(ModelName.parse("good"), MANIFEST)
    layout = Layout(manifests_root(manifests))
    path = layout.manifest(NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(BAD[name])
    assert [stored.name.model for stored in manifests.list()] == ["good"]
    with pytest.raises(StoreError, match='model "llama3:latest" is damaged'):
        manifests.read(NAME)
    assert manifests.write(NAME, MANIFEST).manifest == MANIFEST


def manifests_root(manifests: Manifests) -> Path:
    return manifests._layout.root


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("x")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def _link(path: Path) -> None:
    target = path.parent / "target"
    target.write_bytes(encode_manifest(MANIFEST))
    path.symlink_to(target)


@pytest.mark.parametrize("plant", [_folder, _fifo, _dangling, _link])
@pytest.mark.parametrize("cure", ["write", "remove"])
def test_what_is_no_file_blocks_nobody_and_can_be_healed(
    manifests: Manifests, plant: Callable[[Path], None], cure: str
) -> None:
    manifests.write(ModelName.parse("good"), MANIFEST)
    path = Layout(manifests_root(manifests)).manifest(NAME)
    path.parent.mkdir(parents=True)
    plant(path)
    listed: list[Any] = []
    reader = threading.Thread(target=lambda: listed.extend(manifests.list()), daemon=True)
    reader.start()
    reader.join(5)
    assert not reader.is_alive()
    assert "good" in {stored.name.model for stored in listed}
    with pytest.raises(StoreError):
        manifests.read(NAME)
    if cure == "write":
        assert manifests.write(NAME, MANIFEST).manifest == MANIFEST
    else:
        manifests.remove(NAME)
        with pytest.raises(NotFound):
            manifests.read(NAME)


# --- reading --------------------------------------------------------------------------------


def test_foreign_manifest_keeps_its_bytes_and_digest(manifests: Manifests) -> None:
    root = manifests_root(manifests)
    raw = put_manifest(root, "registry.ollama.ai/library/llama3/latest", [("model", b"w")])
    stored = manifests.read(NAME)
    assert stored.raw == raw
    assert stored.digest.hex == hashlib.sha256(raw).hexdigest()
    assert stored.size == 1 + stored.manifest.config.size


def test_missing_model_is_not_found(manifests: Manifests) -> None:
    with pytest.raises(NotFound, match='model "llama3:latest" not found'):
        manifests.read(NAME)
    with pytest.raises(NotFound):
        manifests.remove(NAME)


def test_list_has_the_most_recent_first(manifests: Manifests) -> None:
    for age, model in enumerate(("new", "middle", "old")):
        stored = manifests.write(ModelName.parse(model), MANIFEST)
        path = Layout(manifests_root(manifests)).manifest(stored.name)
        os.utime(path, ns=(0, 10**18 - age * 10**9))
    assert [stored.name.model for stored in manifests.list()] == ["new", "middle", "old"]


# --- names in another case ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("llama3:LATEST", "registry.ollama.ai/library/Llama3:latest"),
        ("LLAMA3:other", "registry.ollama.ai/library/Llama3:other"),
        ("hf.co/ME/Llama3", "HF.co/Me/Llama3:latest"),
        ("mistral", "registry.ollama.ai/library/mistral:latest"),
    ],
)
def test_existing_spelling_is_taken_part_by_part(
    manifests: Manifests, given: str, expected: str
) -> None:
    for stored in ("Llama3", "HF.co/Me/x"):
        manifests.write(ModelName.parse(stored), MANIFEST)
    assert manifests.existing_spelling(ModelName.parse(given)).full() == expected


def test_exact_name_wins_over_one_in_another_case(manifests: Manifests) -> None:
    for stored in ("foo", "Foo", "FOO"):
        manifests.write(ModelName.parse(stored), MANIFEST)
    assert manifests.existing_spelling(ModelName.parse("Foo")).model == "Foo"


def test_find_existing_ignores_case_and_knows_what_is_missing(manifests: Manifests) -> None:
    manifests.write(ModelName.parse("Foo"), MANIFEST)
    found = manifests.find_existing(ModelName.parse("fOO"))
    assert found is not None
    assert found.model == "Foo"
    assert manifests.find_existing(ModelName.parse("foo:other")) is None


# --- writing --------------------------------------------------------------------------------


def test_written_manifest_is_read_back_and_leaves_no_litter(manifests: Manifests) -> None:
    stored = manifests.write(NAME, MANIFEST)
    assert stored == manifests.read(NAME)
    root = manifests_root(manifests)
    assert list((root / ".ingest").iterdir()) == []
    path = Layout(root).manifest(NAME)
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_write_raw_refuses_what_is_no_manifest(manifests: Manifests) -> None:
    with pytest.raises(StoreError):
        manifests.write_raw(NAME, b"{}")
    assert manifests.list() == []


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_disk_fault_leaves_the_older_manifest(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = manifests.write(NAME, MANIFEST)
    root = manifests_root(manifests)
    tree = snapshot(root / "manifests")

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreError, match="no space left"):
        manifests.write(NAME, Manifest(config=TWO, layers=()))
    monkeypatch.undo()
    assert manifests.read(NAME) == before
    assert snapshot(root / "manifests") == tree
    assert list((root / ".ingest").iterdir()) == []


def test_manifest_is_synced_before_it_is_named_and_its_folder_after(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        steps.append(
            "sync " + ("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        )
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    manifests.write(NAME, MANIFEST)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    manifests.write(NAME, MANIFEST)
    assert steps == ["sync file", "name", "sync folder"]


def test_remove_prunes_empty_folders_only(manifests: Manifests) -> None:
    manifests.write(ModelName.parse("a:one"), MANIFEST)
    manifests.write(ModelName.parse("a:two"), MANIFEST)
    manifests.remove(ModelName.parse("a:one"))
    folder = manifests_root(manifests) / "manifests"
    assert (folder / "registry.ollama.ai/library/a").is_dir()
    manifests.remove(ModelName.parse("a:two"))
    assert list(folder.iterdir()) == []


def test_folder_that_vanishes_while_a_manifest_is_written_is_made_again(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace
    vanished: list[Path] = []

    def vanish_once(self: Path, target: Path) -> Path:
        if not vanished:
            vanished.append(target.parent)
            target.parent.rmdir()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", vanish_once)
    assert manifests.write(NAME, MANIFEST).manifest == MANIFEST
