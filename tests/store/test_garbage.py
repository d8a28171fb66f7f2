import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store import ingest
from ollama_jupyter.store.disk import digest_of
from ollama_jupyter.store.ingest import new_partial
from ollama_jupyter.store.manifests import CONFIG, MODEL, Layer, Manifest
from ollama_jupyter.store.store import Store
from tests.store.making import blob_names, put, put_manifest, snapshot

OLD = 7200


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.layout.create_ingest()
    return store


def age(path: Path, seconds: float = OLD) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)


def add_model(store: Store, name: str, *contents: bytes) -> Manifest:
    """A model of these blobs; the first is its config."""
    layers = [
        Layer(
            media_type=CONFIG if index == 0 else MODEL,
            digest=store.blobs.put(content),
            size=len(content),
        )
        for index, content in enumerate(contents)
    ]
    manifest = Manifest(config=layers[0], layers=tuple(layers[1:]))
    store.manifests.write(ModelName.parse(name), manifest)
    return manifest


# --- removal of what one model used ---------------------------------------------------------


def test_only_what_nothing_else_uses_is_removed(store: Store) -> None:
    gone = add_model(store, "a", b"config a", b"shared")
    add_model(store, "b", b"config b", b"shared")
    store.manifests.remove(ModelName.parse("a"))
    assert store.remove_unused(gone.digests) == [digest_of(b"config a")]
    assert store.blobs.has(digest_of(b"shared"))


def test_what_is_leased_stays_until_the_last_lease_ends(store: Store) -> None:
    digest = store.blobs.put(b"blob")
    with store.leases.hold(digest):
        with store.leases.hold(digest):
            assert store.remove_unused([digest]) == []
        assert store.remove_unused([digest]) == []
    assert store.remove_unused([digest]) == [digest]


def test_lease_of_one_blob_does_not_keep_another(store: Store) -> None:
    kept, gone = store.blobs.put(b"kept"), store.blobs.put(b"gone")
    with store.leases.hold(kept):
        assert store.remove_unused([kept, gone]) == [gone]


def test_lease_takes_more_digests_and_may_be_closed_twice(store: Store) -> None:
    digest = store.blobs.put(b"blob")
    lease = store.leases.open()
    lease.add(digest)
    assert store.remove_unused([digest]) == []
    lease.close()
    lease.close()
    assert store.remove_unused([digest]) == [digest]


def test_linked_blob_goes_with_its_record(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"linked")
    digest = store.blobs.adopt(source)
    assert store.remove_unused([digest]) == [digest]
    assert source.read_bytes() == b"linked"
    assert not store.layout.link_record(digest).exists()


def test_blob_that_can_not_be_removed_stops_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [store.blobs.put(data) for data in (b"one", b"two")]
    unlink = Path.unlink

    def fail(self: Path, missing_ok: bool = False) -> None:
        if self == store.layout.blob(digests[0]):
            raise OSError(13, "Permission denied")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    assert store.remove_unused(digests) == [digests[1]]


def test_nothing_is_removed_when_pruning_is_off(tmp_path: Path) -> None:
    store = Store(tmp_path, prune=False)
    store.layout.create_ingest()
    digest = store.blobs.put(b"blob")
    age(store.layout.blob(digest))
    assert store.remove_unused([digest]) == []
    store.prepare()
    assert store.blobs.has(digest)


_HOLDER = """
import sys
from pathlib import Path
from ollama_jupyter.names import Digest
from ollama_jupyter.store.store import Store
with Store(Path(sys.argv[1])).leases.hold(Digest("0" * 64)):
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
sys.stdin.readline()
"""


def test_nothing_is_removed_while_another_process_holds_a_lease(store: Store) -> None:
    digest = store.blobs.put(b"blob")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(store.layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert store.remove_unused([digest]) == []
        with store.leases.hold(digest):  # both may hold at once
            assert store.remove_unused([digest]) == []
        print("go on", file=other.stdin, flush=True)
        assert other.stdout.readline() == "released\n"
        assert store.remove_unused([digest]) == [digest]


def test_lease_of_a_killed_process_is_gone(store: Store) -> None:
    digest = store.blobs.put(b"blob")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(store.layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        other.kill()
    assert store.remove_unused([digest]) == [digest]


def test_models_that_share_blobs_survive_threads_that_add_and_remove(store: Store) -> None:
    add_model(store, "stays", b"config", b"shared")
    faults: list[BaseException] = []

    def churn(model: str) -> None:
        try:
            for _ in range(20):
                lease = store.leases.open()
                lease.add(digest_of(b"shared"), digest_of(model.encode()))
                manifest = add_model(store, model, model.encode(), b"shared")
                lease.close()
                store.manifests.remove(ModelName.parse(model))
                store.remove_unused(manifest.digests)
        except BaseException as fault:  # noqa: BLE001  # told to the test below
            faults.append(fault)

    threads = [threading.Thread(target=churn, args=(f"m{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert blob_names(store.layout.root) == {
        digest_of(b"config").file_name,
        digest_of(b"shared").file_name,
    }


# --- the sweep at start ---------------------------------------------------------------------


def test_sweep_removes_old_orphans_and_litter_only(store: Store) -> None:
    add_model(store, "a", b"config", b"weights")
    old, young = store.blobs.put(b"old orphan"), store.blobs.put(b"young orphan")
    folder = store.layout.blobs
    names = [f"sha256-{'a' * 64}-partial", f"sha256-{'a' * 64}-partial-3", "sha256-1234567"]
    for name in [*names, "README"]:
        (folder / name).write_bytes(b"")
    young_partial = folder / f"sha256-{'b' * 64}-partial"
    young_partial.write_bytes(b"")
    for path in folder.iterdir():
        if path not in (young_partial, store.layout.blob(young)):
            age(path)
    store.prepare()
    assert blob_names(store.layout.root) == {
        digest_of(b"config").file_name,
        digest_of(b"weights").file_name,
        young.file_name,
        young_partial.name,
        "README",
    }
    assert not store.blobs.has(old)


def test_sweep_spares_everything_while_a_manifest_is_damaged(store: Store) -> None:
    orphan = store.blobs.put(b"orphan")
    age(store.layout.blob(orphan))
    path = store.layout.manifest(ModelName.parse("bad"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")
    store.prepare()
    assert store.blobs.has(orphan)


def test_removal_ignores_damaged_manifests(store: Store) -> None:
    path = store.layout.manifest(ModelName.parse("bad"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")
    digest = store.blobs.put(b"blob")
    assert store.remove_unused([digest]) == [digest]


def test_prepare_removes_what_dead_writers_left_and_spares_living_ones(store: Store) -> None:
    dead = new_partial(store.layout)
    dead.write_bytes(b"half a blob")
    folder = new_partial(store.layout)
    folder.mkdir()
    stray_record = store.layout.link_record(Digest("c" * 64))
    stray_record.write_bytes(b"{}")
    (store.layout.ingest / "linked-nonsense").write_bytes(b"")
    client = store.layout.ingest / ("k" * 32)
    client.write_bytes(b"a client's file, just put there")
    with store.blobs.ingest() as writing:
        writing.write(b"alive")
        Store(store.layout.root).prepare()
        assert writing.commit() == digest_of(b"alive")
    left = {path.name for path in store.layout.ingest.iterdir()}
    assert left == {client.name}


def test_prepare_removes_a_clients_file_nobody_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.layout.ingest / ("k" * 32)
    client.write_bytes(b"")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + OLD)
    store.prepare()
    assert not client.exists()


def test_store_of_the_reference_is_not_rewritten(tmp_path: Path) -> None:
    put_manifest(
        tmp_path,
        "registry.ollama.ai/library/llama3/latest",
        [("model", b"weights"), ("template", b"{{ .Prompt }}"), ("params", b'{"stop":["x"]}\n')],
    )
    put_manifest(tmp_path, "hf.co/me/Model-GGUF/Q4_K_M", [("model", b"other")], old_names=True)
    for path in (tmp_path / "blobs").iterdir():
        age(path)
    before = snapshot(tmp_path)
    store = Store(tmp_path)
    store.prepare()
    assert len(store.manifests.list()) == 2
    for stored in store.manifests.list():
        for layer in stored.manifest.blobs:
            store.blobs.loadable(layer.digest, size_bytes=layer.size)
            store.blobs.read(layer.digest, 1 << 20)
    assert snapshot(tmp_path) == before


def test_folders_without_manifests_are_removed(store: Store) -> None:
    add_model(store, "a", b"config")
    (store.layout.manifests / "registry.ollama.ai/library/empty").mkdir()
    (store.layout.manifests / "hf.co/me/model").mkdir(parents=True)
    store.prepare()
    left = [path.name for path in store.layout.manifests.rglob("*")]
    assert sorted(left) == ["a", "latest", "library", "registry.ollama.ai"]


def test_old_blob_that_nothing_uses_is_removed_under_its_old_name(store: Store) -> None:
    put(store.layout.root, b"old", old_name=True)
    age(store.layout.old_blob(digest_of(b"old")))
    store.prepare()
    assert blob_names(store.layout.root) == set()


def test_partial_that_a_cleaner_took_before_it_was_locked_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def take_first(descriptor: int) -> None:
        if not taken:
            taken.extend(store.layout.ingest.glob("write-*"))
            for path in taken:
                path.unlink()

    monkeypatch.setattr(ingest, "lock_shared", take_first)
    assert store.blobs.put(b"blob") == digest_of(b"blob")
    assert len(taken) == 1
    assert store.blobs.has(digest_of(b"blob"))


def test_cleaner_spares_a_file_that_is_being_brought_in(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"linked" * 1000)
    cleaned: list[int] = []

    def clean(done: int, total: int) -> None:
        Store(store.layout.root).prepare()
        cleaned.append(done)

    digest = store.blobs.adopt(source, clean)
    assert cleaned
    assert store.blobs.loadable(digest, size_bytes=6000).read_bytes() == source.read_bytes()
