import os
from pathlib import Path

import pytest

from ollama_jupyter.errors import StoreError
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.store.layout import Layout

DIGEST = Digest("ab" * 32)


def test_paths_follow_the_reference(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.blob(DIGEST) == tmp_path / "blobs" / f"sha256-{'ab' * 32}"
    assert layout.old_blob(DIGEST) == tmp_path / "blobs" / f"sha256:{'ab' * 32}"
    name = ModelName.parse("hf.co/me/model:q4")
    assert layout.manifest(name) == tmp_path / "manifests/hf.co/me/model/q4"


def test_new_root_is_private_and_an_existing_one_keeps_its_mode(tmp_path: Path) -> None:
    fresh, shared = tmp_path / "a" / "fresh", tmp_path / "shared"
    shared.mkdir(mode=0o755)
    Layout(fresh).create()
    Layout(shared).create()
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert shared.stat().st_mode & 0o777 == 0o755
    assert {entry.name for entry in fresh.iterdir()} == {"blobs", "manifests"}


def test_folder_of_work_in_progress_is_made_when_needed_and_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "store")
    layout.create_ingest()
    layout.create_ingest()
    assert layout.ingest.stat().st_mode & 0o777 == 0o700
    assert layout.blobs.is_dir()


def test_create_says_why_it_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the store"):
        Layout(tmp_path / "file" / "store").create()


def test_linked_folder_of_ours_is_accepted_and_another_users_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "blobs").symlink_to(tmp_path / "disk")
    layout = Layout(tmp_path / "store")
    layout.create()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(StoreError, match="another user"):
        layout.create()


def test_iter_manifests_gives_legal_names_four_parts_deep(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for path in (
        "registry.ollama.ai/library/llama3/latest",
        "hf.co/me/model/q4",
        "localhost:5000/ns/m/t",
        "registry.ollama.ai/library/.hidden/latest",
        "registry.ollama.ai/a.b/m/latest",
        "too/short/path",
        "way/too/long/a/path",
    ):
        file = tmp_path / "manifests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    names = {name.full() for name, _ in layout.iter_manifests()}
    assert names == {
        "registry.ollama.ai/library/llama3:latest",
        "hf.co/me/model:q4",
        "localhost:5000/ns/m:t",
        "way/too/long:a",  # a folder lies there; reading it will say so
    }


def test_iter_manifests_of_no_store_is_empty(tmp_path: Path) -> None:
    assert list(Layout(tmp_path / "none").iter_manifests()) == []
