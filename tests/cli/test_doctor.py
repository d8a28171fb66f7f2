"""The report says what is, and marks what is wrong."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_jupyter.cli import doctor
from ollama_jupyter.cli.doctor import Row, render
from ollama_jupyter.config import Config
from ollama_jupyter.version import __version__
from tests.cli.conftest import Run
from tests.fakes.contract_server import ContractServer


@pytest.fixture(autouse=True)
def engine_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's library is for tests of the runner."""
    monkeypatch.setattr(doctor, "_ENGINE_PROBE", "print('AVX2 = 1'); print('no')")


def values(rows: list[Row]) -> dict[str, str]:
    return {row.name: row.value for row in rows}


def test_doctor_reports_on_the_server_it_finds(run: Run, server: ContractServer) -> None:
    run("run", "echo", "hi")
    outcome = run("doctor")
    assert outcome.code == 0
    assert outcome.err == ""
    for part in (__version__, "AVX2 = 1", server.url, "0.12.3", "echo:latest", "(none)"):
        assert part in outcome.out
    titles = [line for line in outcome.out.splitlines() if line and not line.startswith(" ")]
    assert titles[:-1] == [
        *("Software", "Processor", "Engine", "Memory", "Store", "Settings", "Server")
    ]


@pytest.mark.usefixtures("no_server")
def test_doctor_starts_no_server(home: Path) -> None:
    rows = doctor.server(Config.from_environment(os.environ))
    assert values(rows)["state"] == "not running; the next use starts one"
    assert not (home / "run").exists()


def test_doctor_names_who_holds_the_port(home: Path, server: ContractServer) -> None:
    # Ours by uid, but on a shared machine it is not looked for.
    config = Config.from_environment(os.environ)
    config = replace(config, shared=True, host=replace(config.host, port=server.port))
    assert f"pid {server.pid}" in values(doctor.server(config))["port"]


def test_doctor_shows_the_end_of_the_log_without_escapes(run: Run, home: Path) -> None:
    log = home / ".ollama/logs/server.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(20)) + "\x1b[31mlast\n")
    lines = run("doctor").out.splitlines()
    assert lines[-1] == "    last"
    assert lines[-10:-9] == ["    line 11"]


def test_doctor_marks_settings_that_make_no_sense(home: Path) -> None:
    config = Config.from_environment({"HOME": str(home), "OLLAMA_MAX_QUEUE": "many"})
    rows = doctor.settings(config)
    assert [row.name for row in rows if row.is_wrong] == ["warning"]


def test_doctor_does_not_show_the_key(home: Path) -> None:
    config = Config.from_environment({"HOME": str(home), "OLLAMA_API_KEY": "secret"})
    assert values(doctor.settings(config))["API key"] == "set"
    assert "secret" not in str(doctor.settings(config))


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ("raise SystemExit('no such library')", "no such library"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "exit code -9"),
        ("pass", "exit code 0"),
    ],
)
def test_doctor_survives_an_engine_that_does_not(
    monkeypatch: pytest.MonkeyPatch, probe: str, expected: str
) -> None:
    monkeypatch.setattr(doctor, "_ENGINE_PROBE", probe)
    (row,) = doctor.engine()
    assert row.is_wrong
    assert expected in row.value


def test_doctor_measures_store_and_memory(home: Path) -> None:
    config = Config.from_environment({"HOME": str(home), "OLLAMA_JUPYTER_MEMORY_LIMIT": "1GiB"})
    assert values(doctor.store(config))["state"].startswith("not made yet")
    blobs = home / ".ollama/models/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"sha256-{'0' * 64}").write_bytes(b"x" * 1500)
    assert values(doctor.store(config))["blobs"] == "1, 1.5 KB"
    assert values(doctor.memory(config))["total"] == "1.0 GiB"


def test_doctor_names_versions_and_cores() -> None:
    rows = values(doctor.software())
    assert rows["ollama_jupyter"] == __version__
    assert sys.executable in rows["python"]
    assert doctor.processor()[1].value.endswith(f"of {os.cpu_count()}")


def test_render_marks_what_is_wrong() -> None:
    rows = [Row(name="a", value="fine"), Row(name="b", value="bad\x1b[31m", is_wrong=True)]
    assert render("Title", rows) == f"Title\n    {'a':<18}fine\n  ! {'b':<18}bad\n"
