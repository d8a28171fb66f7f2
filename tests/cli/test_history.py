"""Lines typed come back, and nobody else reads them."""

import os
import stat
from pathlib import Path

import pytest

from ollama_jupyter.cli.history import FileHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "history"


def test_history_keeps_lines_and_gives_the_newest_first(path: Path) -> None:
    history = FileHistory(path, is_kept=True)
    history.store_string("one")
    history.store_string("two\nthree")
    assert list(FileHistory(path, is_kept=True).load_history_strings()) == ["three", "two", "one"]


def test_history_keeps_a_hundred_lines(path: Path) -> None:
    history = FileHistory(path, is_kept=True)
    for number in range(105):
        history.store_string(f"line {number}")
    assert path.read_text().splitlines() == [f"line {number}" for number in range(5, 105)]


def test_history_is_closed_to_others_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        FileHistory(path, is_kept=True).store_string("secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["history"]


def test_history_writes_nothing_when_it_is_off(path: Path) -> None:
    history = FileHistory(path, is_kept=False)
    history.store_string("one")
    assert not path.exists()
    history.is_kept = True
    history.store_string("two")
    assert path.read_text() == "two\n"


def test_history_does_not_follow_a_link(path: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("intact\n")
    path.parent.mkdir()
    path.symlink_to(canary)
    history = FileHistory(path, is_kept=True)
    assert list(history.load_history_strings()) == []
    history.store_string("one")
    assert canary.read_text() == "intact\n"
    assert path.read_text() == "one\n"


def test_history_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = FileHistory(tmp_path / "file" / "history", is_kept=True)
    history.store_string("one")
    assert list(history.load_history_strings()) == []
