"""Records and locks: what is believed, what is removed, what is never followed."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_jupyter import runtime
from ollama_jupyter.config import Host
from ollama_jupyter.errors import StoreError
from ollama_jupyter.runtime import Record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def a_record(url: str = "http://127.0.0.1:4711", **changes: object) -> Record:
    ours = Record.of_this_process(host=Host.parse(url), api_key="secret", auto_started=True)
    return msgspec.structs.replace(ours, **changes)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- records --------------------------------------------------------------------------------


def test_record_is_read_back_as_written(folder: Path) -> None:
    record = a_record()
    path = runtime.write_record(folder, record)
    assert path.name == "server-4711.json"
    assert runtime.read_records(folder) == [record]


def test_record_names_the_loopback_when_the_server_listens_everywhere() -> None:
    assert a_record("http://0.0.0.0:4711").url == "http://127.0.0.1:4711"
    assert a_record("http://[::]:4711").url == "http://[::1]:4711"


def test_record_of_a_socket_has_a_name_of_its_own(folder: Path) -> None:
    one, two = a_record("unix:/run/one.sock"), a_record("unix:/run/two.sock")
    assert one.file_name.startswith("server-unix-")
    assert one.file_name != two.file_name
    runtime.write_record(folder, one)
    runtime.write_record(folder, two)
    assert len(runtime.read_records(folder)) == 2


def test_record_does_not_show_its_key_in_messages() -> None:
    assert "secret" not in f"{a_record()!r} {a_record()}"


@pytest.mark.usefixtures("open_umask")
def test_folder_and_record_are_closed_to_others_whatever_the_umask(folder: Path) -> None:
    path = runtime.write_record(folder, a_record())
    with runtime.start_lock(folder, timeout_seconds=1):
        assert {entry.name for entry in folder.iterdir()} == {"server-4711.json", "start.lock"}
        assert mode(folder) == 0o700
        assert mode(path) == 0o600
        assert mode(folder / "start.lock") == 0o600


def test_folder_that_was_open_is_closed(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    runtime.open_folder(folder)
    assert mode(folder) == 0o700


def test_folder_that_is_a_link_is_refused(tmp_path: Path, folder: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    folder.symlink_to(elsewhere)
    with pytest.raises(StoreError, match="OLLAMA_JUPYTER_RUNTIME_DIR"):
        runtime.write_record(folder, a_record())
    with pytest.raises(StoreError):
        runtime.read_records(folder)
    assert mode(elsewhere) == 0o755
    assert list(elsewhere.iterdir()) == []


def test_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(StoreError, match="belongs to user"):
        runtime.read_records(folder)


def test_folder_that_is_a_file_is_refused(folder: Path) -> None:
    folder.write_text("in the way")
    with pytest.raises(StoreError):
        runtime.open_folder(folder)


def test_read_records_finds_none_and_makes_nothing_when_there_is_no_folder(folder: Path) -> None:
    assert runtime.read_records(folder) == []
    assert not folder.exists()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"process_start": 1}, id="pid used again"),
        pytest.param({"boot_id": "another"}, id="before a restart"),
        pytest.param({"host_name": "elsewhere"}, id="another machine"),
    ],
)
def test_record_nobody_stands_behind_is_removed(folder: Path, changes: dict[str, Any]) -> None:
    path = runtime.write_record(folder, a_record(**changes))
    assert runtime.read_records(folder) == []
    assert not path.exists()


def test_record_of_an_ended_process_is_removed_even_while_it_is_a_zombie(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = runtime.process_start(child.pid)
    record = a_record(pid=child.pid, process_start=start)
    path = runtime.write_record(folder, record)
    assert runtime.read_records(folder) == [record]
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert runtime.read_records(folder) == []
    assert not path.exists()
    child.communicate()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url":1}', b"\xff\xfe", b"null"])
def test_record_that_is_damaged_is_removed(folder: Path, content: bytes) -> None:
    path = runtime.open_folder(folder) / "server-4711.json"
    path.write_bytes(content)
    assert runtime.read_records(folder) == []
    assert not path.exists()


def test_record_with_fields_of_a_later_version_is_read(folder: Path) -> None:
    record = a_record()
    path = runtime.write_record(folder, record)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"later": True}))
    assert runtime.read_records(folder) == [record]


def test_record_that_is_a_link_is_removed_and_its_target_left(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary.json"
    canary.write_bytes(msgspec.json.encode(a_record()))
    link = runtime.open_folder(folder) / "server-4711.json"
    link.symlink_to(canary)
    assert runtime.read_records(folder) == []
    assert not link.is_symlink()
    assert canary.exists()


def test_write_record_replaces_a_link_and_leaves_its_target(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("intact")
    link = runtime.open_folder(folder) / "server-4711.json"
    link.symlink_to(canary)
    path = runtime.write_record(folder, a_record())
    assert path.is_file()
    assert not path.is_symlink()
    assert canary.read_text() == "intact"


def test_read_records_is_not_held_up_by_a_pipe(folder: Path) -> None:
    os.mkfifo(runtime.open_folder(folder) / "server-4711.json")
    assert runtime.read_records(folder) == []


def test_remove_record_removes_its_own_and_leaves_a_successors(folder: Path) -> None:
    old = a_record(process_start=1)
    successor = a_record()
    path = runtime.write_record(folder, successor)
    runtime.remove_record(folder, old)
    assert path.exists()
    runtime.remove_record(folder, successor)
    assert not path.exists()
    runtime.remove_record(folder, successor)


def test_read_records_gives_the_youngest_first(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        older = a_record("http://127.0.0.1:1", pid=1, process_start=runtime.process_start(1))
        younger = a_record("http://127.0.0.1:2")
        runtime.write_record(folder, older)
        runtime.write_record(folder, younger)
        assert runtime.read_records(folder) == [younger, older]
    finally:
        child.communicate(b"\n")


# --- the lock -------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from typing import Any
from ollama_jupyter import runtime
with runtime.start_lock(Path(sys.argv[1]), timeout_seconds=10):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_start_lock_is_refused_while_another_process_holds_it(folder: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(StoreError, match="another process"),
        runtime.start_lock(folder, timeout_seconds=0.05),
    ):
        pass
    holder.kill()
    holder.communicate()
    with runtime.start_lock(folder, timeout_seconds=10):
        pass


def test_start_lock_does_not_follow_a_link(folder: Path, tmp_path: Path) -> None:
    (runtime.open_folder(folder) / "start.lock").symlink_to(tmp_path / "canary")
    with pytest.raises(StoreError), runtime.start_lock(folder, timeout_seconds=1):
        pass
    assert not (tmp_path / "canary").exists()


def test_start_lock_is_not_inherited_by_a_child(folder: Path) -> None:
    with runtime.start_lock(folder, timeout_seconds=1):
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
    with runtime.start_lock(folder, timeout_seconds=0):
        pass
    child.communicate(b"\n")


# --- processes and listeners ----------------------------------------------------------------


def test_process_start_is_none_when_no_such_process_runs() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert runtime.process_start(child.pid) is None


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")],
)
def test_find_listener_names_the_process_that_holds_a_port(
    family: socket.AddressFamily, address: str
) -> None:
    with socket.create_server((address, 0), family=family) as server:
        listener = runtime.find_listener(server.getsockname()[1])
        assert listener is not None
        assert listener.is_ours
        assert listener.find_pid() == os.getpid()
        assert f"pid {os.getpid()}" in str(listener)


def test_find_listener_is_none_when_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert runtime.find_listener(bound.getsockname()[1]) is None


def test_find_listener_reports_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        listener = runtime.find_listener(server.getsockname()[1])
        assert listener is not None
        assert not listener.is_ours
