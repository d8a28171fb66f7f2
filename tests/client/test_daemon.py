"""Finding and starting, with real processes, real sockets and real records."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_jupyter import runtime
from ollama_jupyter.client import calls, daemon, launch
from ollama_jupyter.client.daemon import Connection, find, find_or_start
from ollama_jupyter.config import Config, Host
from ollama_jupyter.errors import ServerUnreachable, StoreError
from ollama_jupyter.runtime import Listener, Record
from ollama_jupyter.version import __version__
from tests.fakes.contract_server import ContractServer

FAKE = ("-m", "tests.client.own_server")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment of its own: nothing of the user's is touched."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "OLLAMA_JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
        "FAKE_STARTS": str(tmp_path / "starts"),
    }


@pytest.fixture
def config(environ: dict[str, str], free_port: int) -> Config:
    """No address asked for; the default one is a free port, never the real default."""
    return replace(Config.from_environment(environ), host=Host(port=free_port))


@pytest.fixture
def free_port() -> int:
    """A port nobody uses, below those the system hands out, so that nobody gets it meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as bound, contextlib.suppress(OSError):
            bound.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def stranger() -> Iterator[int]:
    """A port where something listens that never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def fake_server(monkeypatch: pytest.MonkeyPatch, config: Config) -> Iterator[None]:
    """Start the fake where ours would be started, and end all that were started."""
    monkeypatch.setattr(launch, "SERVE_ARGUMENTS", FAKE)
    monkeypatch.setattr(daemon, "_PROBE_SECONDS", 0.2)
    yield
    for record in runtime.read_records(config.runtime_dir):
        daemon.shutdown(record)


@pytest.fixture
def start(config: Config, environ: dict[str, str]) -> Callable[..., Connection]:
    """`find_or_start`, with settings of the fake server."""

    def start(*, host: Host | None = None, config: Config = config, **fake: str) -> Connection:
        return find_or_start(config, host=host, environ=environ | fake)

    return start


def starts(environ: dict[str, str]) -> list[dict[str, Any]]:
    path = Path(environ["FAKE_STARTS"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# --- find -----------------------------------------------------------------------------------


def test_find_finds_nothing_and_starts_nothing(config: Config, environ: dict[str, str]) -> None:
    assert find(config) is None
    assert starts(environ) == []
    assert not config.runtime_dir.exists()


def test_find_attaches_to_a_server_that_knows_only_the_contract(config: Config) -> None:
    with ContractServer() as server:
        connection = find(replace(config, host=Host.parse(server.url), is_host_set=True))
        assert connection is not None
        assert connection.record is None
        assert connection.client.request(calls.ps()) == {"models": []}


def test_find_takes_what_is_asked_for_before_the_environment(config: Config) -> None:
    with ContractServer() as asked, ContractServer() as named:
        config = replace(config, host=Host.parse(named.url), is_host_set=True)
        connection = find(config, host=Host.parse(asked.url))
        assert connection is not None
        assert connection.client.host.port == asked.port


def test_find_attaches_to_a_unix_socket(config: Config, tmp_path: Path) -> None:
    with ContractServer(unix=tmp_path / "sock") as server:
        connection = find(config, host=Host.parse(server.url))
        assert connection is not None
        assert connection.client.request(calls.version()) == {"version": "0.12.3"}


def test_find_sends_the_users_key_to_the_server_the_user_named(config: Config) -> None:
    with ContractServer(key="mine") as server:
        named = replace(config, host=Host.parse(server.url), is_host_set=True, api_key="mine")
        connection = find(named)
        assert connection is not None
        assert connection.client.request(calls.ps()) == {"models": []}


def test_find_knows_a_server_of_ours_by_the_name_of_this_machine(config: Config) -> None:
    with ContractServer(key="secret") as server:
        record = Record.of_this_process(
            host=Host.parse(server.url), api_key="secret", auto_started=True
        )
        runtime.write_record(config.runtime_dir, record)
        connection = find(config, host=Host(name="localhost", port=server.port))
        assert connection is not None
        assert connection.client.host.name == "127.0.0.1"
        assert connection.client.request(calls.ps()) == {"models": []}
        runtime.remove_record(config.runtime_dir, record)


def test_find_or_start_starts_nothing_behind_an_address_that_wants_encryption(
    config: Config, environ: dict[str, str], start: Callable[..., Connection], free_port: int
) -> None:
    with pytest.raises(ServerUnreachable, match="https://127"):
        start(host=Host(scheme="https", port=free_port))
    assert starts(environ) == []


def test_find_probes_without_a_key(config: Config) -> None:
    with ContractServer() as server:
        find(replace(config, host=Host.parse(server.url), is_host_set=True, api_key="mine"))
        assert server.next_event()["key"] is None


def test_find_raises_when_another_machine_was_named_and_does_not_answer(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "speaks_ollama", lambda _host: False)
    elsewhere = Host(name="elsewhere.example", port=9)
    with pytest.raises(ServerUnreachable, match=r"http://elsewhere\.example:9"):
        find(replace(config, host=elsewhere, is_host_set=True))
    with pytest.raises(ServerUnreachable):
        find_or_start(config, host=elsewhere)


def test_find_attaches_to_an_ollama_of_ours_on_the_default_port(config: Config) -> None:
    with ContractServer(port=config.host.port):
        connection = find(config)
        assert connection is not None
        assert connection.record is None
        assert find(replace(config, shared=True)) is None


def test_find_leaves_the_default_port_alone_when_another_user_holds_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Listener(uid=os.getuid() + 1)
    with ContractServer(port=config.host.port):
        monkeypatch.setattr(runtime, "find_listener", lambda _port: other)
        assert find(config) is None


def test_find_ignores_what_does_not_speak_ollama(config: Config, stranger: int) -> None:
    assert find(replace(config, host=Host(port=stranger))) is None
    assert find(config, host=Host(port=stranger)) is None


def test_find_does_not_trust_a_record_whose_port_another_user_holds(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ContractServer() as server:
        record = Record.of_this_process(
            host=Host.parse(server.url), api_key="secret", auto_started=True
        )
        runtime.write_record(config.runtime_dir, record)
        monkeypatch.setattr(runtime, "find_listener", lambda _port: Listener(uid=os.getuid() + 1))
        assert find(config) is None
    monkeypatch.undo()
    runtime.remove_record(config.runtime_dir, record)


# --- start ----------------------------------------------------------------------------------


def test_find_or_start_starts_once_and_then_finds(
    config: Config, environ: dict[str, str], start: Callable[..., Connection]
) -> None:
    first = start()
    assert first.was_started
    assert first.client.host.port == config.host.port
    assert first.client.request(calls.version()) == {"version": "0.12.3"}
    second = start()
    assert not second.was_started
    assert second.record == first.record
    assert find(config) is not None
    assert len(starts(environ)) == 1


def test_started_server_is_a_program_of_its_own(
    environ: dict[str, str], start: Callable[..., Connection], tmp_path: Path
) -> None:
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        start(JUPYTER_TOKEN="t", JUPYTERHUB_API_TOKEN="t", JPY_API_TOKEN="t")
    finally:
        os.close(inherited)
    (started,) = starts(environ)
    log = str(tmp_path / "home/.ollama/logs/server.log")
    assert started["session"] == started["pid"] != os.getsid(0)
    assert started["cwd"] == "/"
    assert started["secrets"] == []
    assert [file for file in started["files"] if file.startswith("/tmp")] in (
        [log, environ["FAKE_STARTS"]],
        [environ["FAKE_STARTS"], log],
    )


def test_log_is_closed_to_others(start: Callable[..., Connection], tmp_path: Path) -> None:
    start()
    log = tmp_path / "home/.ollama/logs/server.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_log_that_is_a_link_is_not_followed(
    start: Callable[..., Connection], environ: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "home/.ollama/logs/server.log"
    log.parent.mkdir(parents=True)
    canary = tmp_path / "canary"
    canary.write_text("intact")
    log.symlink_to(canary)
    with pytest.raises(StoreError, match="cannot write the log"):
        start()
    assert canary.read_text() == "intact"
    assert starts(environ) == []


def test_interrupt_while_waiting_leaves_no_half_started_server(
    environ: dict[str, str], start: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_folder: Path) -> list[Record]:
        if starts(environ):
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(runtime, "read_records", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(FAKE_END="hangs")
    monkeypatch.undo()
    assert runtime.process_start(starts(environ)[0]["pid"]) is None


def test_server_outlives_a_fork_of_its_starter(environ: dict[str, str], config: Config) -> None:
    program = f"""
import os, sys
from dataclasses import replace
from ollama_jupyter.client import calls, launch
from ollama_jupyter.client.daemon import find_or_start
from ollama_jupyter.config import Config, Host
launch.SERVE_ARGUMENTS = {FAKE!r}
config = replace(Config.from_environment(os.environ), host=Host(port={config.host.port}))
connection = find_or_start(config)
child = os.fork()
if child == 0:
    connection.client.request(calls.version())
    sys.exit(0)
print(os.waitpid(child, 0)[1], connection.client.request(calls.version())["version"])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("0 0.12.3\n", "")
    assert find(config) is not None


def test_three_starters_at_once_start_one_server(environ: dict[str, str], config: Config) -> None:
    program = f"""
import sys
from dataclasses import replace
from ollama_jupyter.client import launch
from ollama_jupyter.client.daemon import find_or_start
from ollama_jupyter.config import Config, Host
import os
launch.SERVE_ARGUMENTS = {FAKE!r}
config = replace(Config.from_environment(os.environ), host=Host(port={config.host.port}))
sys.stdin.read(1)
print(find_or_start(config).record.pid)
"""
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()
    pids = {starter.communicate(timeout=30)[0] for starter in starters}
    assert pids == {f"{starts(environ)[0]['pid']}\n"}
    assert len(starts(environ)) == 1


def test_find_or_start_starts_at_the_loopback_address_asked_for(
    config: Config, start: Callable[..., Connection], free_port: int
) -> None:
    asked = Host(port=free_port)
    connection = start(host=asked, config=replace(config, host=Host(port=1)))
    assert connection.client.host == asked
    assert connection.warnings == ()


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_find_or_start_takes_a_free_port_when_a_stranger_has_ours(
    config: Config,
    environ: dict[str, str],
    start: Callable[..., Connection],
    stranger: int,
    is_asked_for: bool,
) -> None:
    config = replace(config, host=Host(port=stranger), is_host_set=is_asked_for)
    first = start(config=config)
    assert first.was_started
    assert first.client.host.port != stranger
    assert f"pid {os.getpid()}" in first.warnings[0]
    second = start(config=config)
    assert second.record == first.record
    assert len(starts(environ)) == 1


def test_find_or_start_says_why_the_server_died(
    start: Callable[..., Connection], tmp_path: Path
) -> None:
    log = tmp_path / "home/.ollama/logs/server.log"
    log.parent.mkdir(parents=True)
    log.write_text("an older run\n")
    with pytest.raises(ServerUnreachable, match="exit code 1") as raised:
        start(FAKE_END="dies")
    assert "the store is on fire" in str(raised.value)
    assert "an older run" not in str(raised.value)


def test_find_or_start_gives_up_on_a_server_that_never_answers(
    environ: dict[str, str], start: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "START_TIMEOUT_SECONDS", 1.0)
    with pytest.raises(ServerUnreachable, match="did not answer"):
        start(FAKE_END="hangs")
    assert runtime.process_start(starts(environ)[0]["pid"]) is None


def test_find_or_start_sends_the_key_of_the_record(start: Callable[..., Connection]) -> None:
    connection = start(FAKE_KEY="secret")
    assert connection.client.request(calls.ps()) == {"models": []}
    assert start().client.request(calls.ps()) == {"models": []}


def test_find_or_start_uses_a_socket_only_we_can_enter_on_a_shared_machine(
    config: Config, start: Callable[..., Connection]
) -> None:
    connection = start(config=replace(config, shared=True))
    assert connection.client.host.socket_path == config.runtime_dir / "server.sock"
    assert connection.client.request(calls.ps()) == {"models": []}


def test_find_or_start_replaces_a_record_nobody_stands_behind(
    config: Config, start: Callable[..., Connection]
) -> None:
    gone = Record.of_this_process(host=config.host, api_key="old", auto_started=True)
    runtime.write_record(config.runtime_dir, msgspec.structs.replace(gone, process_start=1))
    connection = start()
    assert connection.was_started
    assert runtime.read_records(config.runtime_dir) == [connection.record]


# --- another version ------------------------------------------------------------------------


@pytest.mark.parametrize("fake", [{"FAKE_VERSION": "0.0.1"}, {"FAKE_INTERPRETER": "/gone/python"}])
def test_idle_server_of_another_kind_is_replaced(
    start: Callable[..., Connection], fake: dict[str, str]
) -> None:
    old = start(**fake)
    new = start()
    assert old.record is not None
    assert new.record is not None
    assert new.was_started
    assert (new.record.version, new.record.interpreter) == (__version__, sys.executable)
    assert not old.record.is_alive


def test_busy_server_of_another_version_is_used_with_a_warning(
    start: Callable[..., Connection],
) -> None:
    old = start(FAKE_VERSION="0.0.1", FAKE_LOADED="echo:latest")
    new = start()
    assert new.record == old.record
    assert len(new.warnings) == 1
    assert "0.0.1" in new.warnings[0]


def test_server_started_by_hand_is_used_whatever_its_version(
    start: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "SERVE_ARGUMENTS", (*FAKE, "--by-hand"))
    old = start(FAKE_VERSION="0.0.1")
    new = start()
    assert new.record == old.record
    assert new.warnings


# --- shutdown -------------------------------------------------------------------------------


def test_shutdown_ends_the_server(config: Config, start: Callable[..., Connection]) -> None:
    record = start().record
    assert record is not None
    daemon.shutdown(record)
    assert not record.is_alive
    assert find(config) is None
    daemon.shutdown(record)


def test_shutdown_leaves_a_process_alone_that_only_has_the_pid(config: Config) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = Record.of_this_process(host=config.host, api_key=None, auto_started=True)
    daemon.shutdown(msgspec.structs.replace(record, pid=child.pid, process_start=1))
    assert child.poll() is None
    child.communicate(b"\n")
    assert child.returncode == 0


def test_shutdown_raises_when_the_server_goes_on(config: Config) -> None:
    program = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    record = msgspec.structs.replace(
        Record.of_this_process(host=config.host, api_key=None, auto_started=True),
        pid=child.pid,
        process_start=runtime.process_start(child.pid),
    )
    with pytest.raises(ServerUnreachable, match=f"pid {child.pid}"):
        daemon.shutdown(record, timeout_seconds=0.05)
    child.communicate(b"\n")
