"""The life of the server, as the command line sees it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_jupyter import runtime
from ollama_jupyter.cli import doctor
from ollama_jupyter.cli.main import main
from ollama_jupyter.client.daemon import shutdown
from ollama_jupyter.config import Config
from ollama_jupyter.runtime import Record

ROOT = Path(__file__).parents[2]


@pytest.fixture
def record(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """What a server of ours wrote that runs in another process."""
    monkeypatch.setenv("FAKE_STARTS", str(home / "starts"))
    monkeypatch.setenv("OLLAMA_HOST", f"unix:{home}/server.sock")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.client.own_server"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    (record,) = runtime.read_records(home / "run")
    yield record
    process.terminate()
    process.communicate(timeout=10)


def test_shutdown_ends_the_server(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shutdown"]) == 0
    assert capsys.readouterr().out == f"ended the server at {record.url} (pid {record.pid})\n"
    assert not record.is_alive


def test_doctor_tells_who_started_the_server(record: Record) -> None:
    rows = {row.name: row.value for row in doctor.server(Config.from_environment(os.environ))}
    assert rows["process"] == f"{record.pid}, started by a client"
    assert rows["environment"] == sys.executable


def test_version_is_asked_of_the_server(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ollama version is 0.12.3\n")


def test_serve_runs_the_server_with_the_settings_it_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[tuple[Config, bool]] = []

    def serve(config: Config, *, auto_started: bool) -> None:
        served.append((config, auto_started))

    monkeypatch.setattr("ollama_jupyter.server.process.serve", serve)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:4711")
    monkeypatch.setenv("OLLAMA_MAX_QUEUE", "many")
    assert main(["serve"]) == 0
    assert main(["start", "--auto-started"]) == 0
    assert [(config.host.port, is_auto) for config, is_auto in served] == [
        (4711, False),
        (4711, True),
    ]
    assert "OLLAMA_MAX_QUEUE='many' makes no sense" in capsys.readouterr().err


def test_serve_names_who_holds_its_port(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "ollama_jupyter", "serve"],
            env={"HOME": str(home), "OLLAMA_HOST": f"127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"pid {os.getpid()}" in done.stderr


def test_three_commands_at_once_start_one_real_server(home: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    environ = {
        "HOME": str(home),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_JUPYTER_RUNTIME_DIR": str(home / "run"),
        "OLLAMA_OFFERED_MODELS": "0",
    }
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "ollama_jupyter", "list"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        for _ in range(3)
    ]
    outcomes = {command.communicate(timeout=60) for command in commands}
    (record,) = runtime.read_records(home / "run")
    try:
        assert outcomes == {(b"NAME    ID    SIZE    MODIFIED    \n", b"")}
        log = (home / ".ollama/logs/server.log").read_text()
        assert log.count("listens on") == 1
    finally:
        shutdown(record)
    assert not record.is_alive
    assert runtime.read_records(home / "run") == []
