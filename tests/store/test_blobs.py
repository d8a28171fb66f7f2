import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ollama_jupyter.errors import BadRequest, NotFound, StoreError
from ollama_jupyter.names import Digest
from ollama_jupyter.store import links
from ollama_jupyter.store.blobs import Blobs
from ollama_jupyter.store.disk import digest_of
from ollama_jupyter.store.layout import Layout
from tests.store.making import put, snapshot

DATA = b"some weights" * 1000
DIGEST = digest_of(DATA)
TOKEN = "t" * 32


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "store")
    layout.create_ingest()
    return layout


@pytest.fixture
def blobs(layout: Layout) -> Blobs:
    return Blobs(layout)


def litter(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.ingest.iterdir())


# --- reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("old_name", [False, True])
def test_blob_is_found_under_either_name(layout: Layout, blobs: Blobs, old_name: bool) -> None:
    put(layout.root, DATA, old_name=old_name)
    assert blobs.has(DIGEST)
    assert blobs.size(DIGEST) == len(DATA)
    assert blobs.read(DIGEST, len(DATA)) == DATA
    assert blobs.loadable(DIGEST, size_bytes=len(DATA)).read_bytes() == DATA
    assert blobs.verify(DIGEST)


def test_missing_blob_is_not_found(blobs: Blobs) -> None:
    assert not blobs.has(DIGEST)
    asks: list[Callable[[], object]] = [
        lambda: blobs.path(DIGEST),
        lambda: blobs.size(DIGEST),
        lambda: blobs.read(DIGEST, 1),
        lambda: blobs.loadable(DIGEST, size_bytes=1),
        lambda: blobs.verify(DIGEST),
    ]
    for ask in asks:
        with pytest.raises(NotFound, match=f'blob "{DIGEST}" not found'):
            ask()


@pytest.mark.parametrize("plant", ["folder", "pipe", "link"])
def test_what_is_no_file_is_no_blob(layout: Layout, blobs: Blobs, plant: str) -> None:
    path = layout.blob(DIGEST)
    if plant == "folder":
        path.mkdir()
    elif plant == "pipe":
        os.mkfifo(path)
    else:
        secret = layout.root.parent / "secret"
        secret.write_bytes(DATA)
        path.symlink_to(secret)
    assert not blobs.has(DIGEST)


def test_read_refuses_what_is_too_large_or_damaged(layout: Layout, blobs: Blobs) -> None:
    put(layout.root, DATA)
    with pytest.raises(StoreError, match="larger than"):
        blobs.read(DIGEST, len(DATA) - 1)
    layout.blob(DIGEST).write_bytes(b"X" + DATA[1:])
    with pytest.raises(StoreError, match="damaged"):
        blobs.read(DIGEST, len(DATA))


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 0])
def test_loadable_refuses_a_blob_of_another_size(layout: Layout, blobs: Blobs, size: int) -> None:
    put(layout.root, DATA)
    layout.blob(DIGEST).write_bytes((DATA + b"x")[:size])
    with pytest.raises(StoreError, match="is damaged: it has"):
        blobs.loadable(DIGEST, size_bytes=len(DATA))


def test_verify_finds_one_flipped_bit(layout: Layout, blobs: Blobs) -> None:
    flipped = bytearray(DATA)
    flipped[5000] ^= 1
    layout.blob(DIGEST).write_bytes(flipped)
    seen: list[tuple[int, int]] = []
    assert not blobs.verify(DIGEST, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(DATA), len(DATA))


# --- writing --------------------------------------------------------------------------------


def test_ingest_stores_what_was_written(layout: Layout, blobs: Blobs) -> None:
    with blobs.ingest() as ingest:
        ingest.write(DATA[:10])
        ingest.write(memoryview(DATA)[10:])
        assert ingest.size == len(DATA)
        assert not blobs.has(DIGEST)
        assert ingest.commit(DIGEST) == DIGEST
    assert blobs.read(DIGEST, 1 << 20) == DATA
    assert litter(layout) == []


def test_ingest_that_is_left_leaves_nothing(layout: Layout, blobs: Blobs) -> None:
    with suppress(KeyboardInterrupt), blobs.ingest() as ingest:
        ingest.write(DATA)
        raise KeyboardInterrupt
    assert litter(layout) == []
    assert list(layout.blobs.iterdir()) == []


def test_commit_of_another_digest_keeps_nothing(layout: Layout, blobs: Blobs) -> None:
    wanted = Digest("0" * 64)
    with blobs.ingest() as ingest:
        ingest.write(DATA)
        with pytest.raises(BadRequest) as caught:
            ingest.commit(wanted)
    assert str(caught.value) == f'digest mismatch, expected "{wanted}", got "{DIGEST}"'
    assert litter(layout) == []
    assert list(layout.blobs.iterdir()) == []


def test_commit_heals_a_damaged_blob(layout: Layout, blobs: Blobs) -> None:
    layout.blob(DIGEST).write_bytes(b"rotten")
    with blobs.ingest() as ingest:
        ingest.write(DATA)
        ingest.commit()
    assert blobs.verify(DIGEST)


def test_put_finds_an_equal_blob_and_makes_it_young(layout: Layout, blobs: Blobs) -> None:
    assert blobs.put(DATA) == DIGEST
    os.utime(layout.blob(DIGEST), (0, 0))
    inode = layout.blob(DIGEST).stat().st_ino
    assert blobs.put(DATA) == DIGEST
    assert layout.blob(DIGEST).stat().st_ino == inode
    assert layout.blob(DIGEST).stat().st_mtime > 0


def test_put_replaces_a_damaged_blob(layout: Layout, blobs: Blobs) -> None:
    layout.blob(DIGEST).write_bytes(b"X" + DATA[1:])
    assert blobs.put(DATA) == DIGEST
    assert blobs.verify(DIGEST)


@pytest.mark.parametrize("planted", ["blob", "record"])
def test_planted_links_are_replaced_and_never_followed(
    layout: Layout, blobs: Blobs, planted: str
) -> None:
    canary = layout.root.parent / "canary"
    canary.write_bytes(b"alive")
    path = layout.blob(DIGEST) if planted == "blob" else layout.link_record(DIGEST)
    path.symlink_to(canary)
    blobs.put(DATA)
    assert canary.read_bytes() == b"alive"
    assert blobs.loadable(DIGEST, size_bytes=len(DATA)).read_bytes() == DATA


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_disk_fault_while_writing_is_named_and_leaves_nothing(
    layout: Layout, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(StoreError, match=r"no space left|Input/output|read-only"):
        blobs.put(DATA)
    monkeypatch.undo()
    assert litter(layout) == []
    assert blobs.put(DATA) == DIGEST


def test_blob_is_synced_before_it_is_named(
    layout: Layout, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("sync")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    blobs.put(DATA)
    assert steps == ["sync", "name", "sync"]


# --- bringing files in ----------------------------------------------------------------------


@pytest.fixture
def source(layout: Layout) -> Path:
    path = layout.root.parent / "source.gguf"
    path.write_bytes(DATA)
    path.chmod(0o640)
    return path


def test_adopt_links_a_file_of_ours_and_leaves_it_alone(
    layout: Layout, blobs: Blobs, source: Path
) -> None:
    before = source.stat()
    seen: list[tuple[int, int]] = []
    assert blobs.adopt(source, lambda done, total: seen.append((done, total))) == DIGEST
    after = source.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert seen[-1] == (len(DATA), len(DATA))
    assert blobs.loadable(DIGEST, size_bytes=len(DATA)).read_bytes() == DATA
    # A file system that shares extents makes a file of its own, which needs no record.
    is_linked = layout.blob(DIGEST).stat().st_ino == before.st_ino
    assert litter(layout) == ([layout.link_record(DIGEST).name] if is_linked else [])


def test_adopt_copies_when_it_can_neither_share_nor_link(
    layout: Layout, blobs: Blobs, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_try_reflink", lambda *_: None)
    monkeypatch.setattr(links, "_is_ours", lambda _: False)
    assert blobs.adopt(source) == DIGEST
    assert layout.blob(DIGEST).stat().st_ino != source.stat().st_ino
    assert litter(layout) == []


def test_adopt_follows_a_link_to_the_file_it_is_given(blobs: Blobs, source: Path) -> None:
    link = source.with_name("link.gguf")
    link.symlink_to(source)
    assert blobs.adopt(link) == DIGEST


def test_adopt_of_what_is_no_file_fails_and_leaves_nothing(layout: Layout, blobs: Blobs) -> None:
    os.mkfifo(layout.root.parent / "pipe")
    for path in (layout.root.parent / "pipe", layout.root.parent, layout.root / "none"):
        with pytest.raises(StoreError, match="cannot bring in"):
            blobs.adopt(path)
    assert litter(layout) == []


@pytest.fixture
def linked(layout: Layout, blobs: Blobs, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source, hard-linked into the store."""
    monkeypatch.setattr(links, "_try_reflink", lambda *_: None)
    blobs.adopt(source)
    assert layout.blob(DIGEST).stat().st_ino == source.stat().st_ino
    return source


def test_edit_of_a_linked_file_is_noticed_before_it_is_loaded(blobs: Blobs, linked: Path) -> None:
    with linked.open("r+b") as file:
        file.write(b"X")
    with pytest.raises(StoreError, match="was changed"):
        blobs.loadable(DIGEST, size_bytes=len(DATA))


def test_touch_of_a_linked_file_costs_one_hashing(
    layout: Layout, blobs: Blobs, linked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(linked)
    blobs.loadable(DIGEST, size_bytes=len(DATA))

    def fail(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr("ollama_jupyter.store.blobs.hash_file", fail)
    blobs.loadable(DIGEST, size_bytes=len(DATA))


def test_damaged_record_costs_one_hashing(layout: Layout, blobs: Blobs, linked: Path) -> None:
    layout.link_record(DIGEST).write_bytes(b"{")
    assert blobs.loadable(DIGEST, size_bytes=len(DATA)).exists()
    assert layout.link_record(DIGEST).read_bytes() != b"{"


def test_linked_file_keeps_its_times_when_its_blob_is_used_again(
    blobs: Blobs, linked: Path
) -> None:
    before = linked.stat().st_mtime_ns
    blobs.refresh(DIGEST)
    blobs.put(DATA)
    assert linked.stat().st_mtime_ns == before


def test_upload_replaces_a_link_and_forgets_its_record(
    layout: Layout, blobs: Blobs, linked: Path
) -> None:
    with blobs.ingest() as ingest:
        ingest.write(DATA)
        ingest.commit()
    linked.write_bytes(b"edited")
    assert blobs.loadable(DIGEST, size_bytes=len(DATA)).read_bytes() == DATA
    assert litter(layout) == []


# --- files a client put into .ingest --------------------------------------------------------


def test_adopt_ingested_names_a_clients_file(layout: Layout, blobs: Blobs) -> None:
    (layout.ingest / TOKEN).write_bytes(DATA)
    assert blobs.adopt_ingested(TOKEN) == DIGEST
    assert litter(layout) == []
    assert blobs.verify(DIGEST)


def test_adopt_ingested_remembers_that_a_file_is_linked(
    layout: Layout, blobs: Blobs, source: Path
) -> None:
    os.link(source, layout.ingest / TOKEN)
    assert blobs.adopt_ingested(TOKEN) == DIGEST
    assert litter(layout) == [layout.link_record(DIGEST).name]


@pytest.mark.parametrize(
    "token", ["", "short", "../" + "x" * 20, "x" * 65, "a/b" * 8, "write-" + "x" * 20, "x\0" * 10]
)
def test_adopt_ingested_refuses_what_is_no_token(blobs: Blobs, token: str) -> None:
    with pytest.raises(BadRequest, match="invalid ingest token"):
        blobs.adopt_ingested(token)


def test_adopt_ingested_follows_no_link(layout: Layout, blobs: Blobs, source: Path) -> None:
    (layout.ingest / TOKEN).symlink_to(source)
    with pytest.raises(NotFound):
        blobs.adopt_ingested(TOKEN)


def test_adopt_ingested_refuses_another_users_file(
    layout: Layout, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.ingest / TOKEN).write_bytes(DATA)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(StoreError, match="another user"):
        blobs.adopt_ingested(TOKEN)


def test_nothing_is_rewritten_by_reading(layout: Layout, blobs: Blobs) -> None:
    put(layout.root, DATA)
    put(layout.root, b"old", old_name=True)
    before = snapshot(layout.root)
    for data in (DATA, b"old"):
        digest = Digest(hashlib.sha256(data).hexdigest())
        blobs.read(digest, 1 << 20)
        blobs.loadable(digest, size_bytes=len(data))
        blobs.verify(digest)
    assert snapshot(layout.root) == before
