"""The life of a server process, seen from outside. Nothing is loaded, so no engine is needed."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ollama_jupyter.config import Host
from ollama_jupyter.runtime import Record, read_records

PROGRAM = (
    "import os, sys\n"
    "from ollama_jupyter.config import Config\n"
    "from ollama_jupyter.errors import OllamaError\n"
    "from ollama_jupyter.server.process import serve\n"
    "try:\n"
    "    serve(Config.from_environment(os.environ), auto_started='--auto' in sys.argv)\n"
    "except OllamaError as error:\n"
    "    sys.exit(str(error))\n"
)
DEADLINE_SECONDS = 20.0


def _wait(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)  # the pace of looking


@contextmanager
def _started(
    home: Path, *arguments: str, **environ: str
) -> Iterator[tuple["subprocess.Popen[str]", Record]]:
    """A server and its record."""
    process = _start(home, *arguments, **environ)
    try:
        _wait(lambda: read_records(home / "run") or process.poll() is not None, "it listens")
        (record,) = read_records(home / "run")
        yield process, record
    finally:
        process.kill()
        process.communicate()


def _start(home: Path, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=clean
        | {
            "HOME": str(home),
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_JUPYTER_RUNTIME_DIR": str(home / "run"),
            "OLLAMA_OFFERED_MODELS": "0",
        }
        | environ,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _get(host: Host, path: str, key: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(host.name, host.port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_and_leaves_nothing(short_dir: Path, number: int) -> None:
    with _started(short_dir) as (process, record):
        assert record.pid == process.pid
        assert record.auto_started is False
        assert _get(record.host, "/api/tags") == (200, {"models": []})
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        log = process.stderr.read()
    assert "Traceback" not in log
    assert f"listens on {record.url}" in log
    assert not list((short_dir / "run").glob("server-*.json"))


def test_an_open_stream_ends_with_an_error_record(short_dir: Path) -> None:
    with _started(short_dir) as (process, record):
        connection = http.client.HTTPConnection(record.host.name, record.host.port, timeout=10)
        connection.request("GET", "/api/events")
        reply = connection.getresponse()
        assert json.loads(reply.readline()) == {"event": "start"}
        process.send_signal(signal.SIGTERM)
        assert json.loads(reply.readline()) == {"error": "the server is shutting down"}
        assert reply.readline() == b""
        connection.close()
        assert process.wait(10) == 0


def test_a_second_signal_ends_a_server_at_once(short_dir: Path) -> None:
    """An upload that stands still would otherwise be given its time."""
    with _started(short_dir) as (process, record):
        connection = http.client.HTTPConnection(record.host.name, record.host.port, timeout=10)
        connection.putrequest("POST", f"/api/blobs/sha256:{'0' * 64}")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x")
        _wait(lambda: _litter(short_dir), "the upload has begun")
        process.send_signal(signal.SIGTERM)
        _wait(lambda: not read_records(short_dir / "run"), "it is ending")
        assert process.poll() is None
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) != 0
        assert time.monotonic() - asked < 2
        connection.close()
    assert not list((short_dir / "run").glob("server-*.json"))


def _litter(home: Path) -> list[Path]:
    return list((home / ".ollama" / "models" / ".ingest").glob("write-*"))


def test_an_upload_that_stands_still_does_not_hold_the_end_up(short_dir: Path) -> None:
    with _started(short_dir) as (process, record):
        connection = http.client.HTTPConnection(record.host.name, record.host.port, timeout=10)
        connection.putrequest("POST", f"/api/blobs/sha256:{'0' * 64}")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x")
        _wait(lambda: _litter(short_dir), "the upload has begun")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        connection.close()
    assert not _litter(short_dir)


def test_an_auto_started_server_ends_when_unused_and_logs_to_a_file(short_dir: Path) -> None:
    with _started(short_dir, "--auto", OLLAMA_JUPYTER_IDLE_EXIT="1s") as (process, record):
        assert record.auto_started is True
        assert _get(record.host, "/api/version")[0] == 200
        assert process.wait(10) == 0
    log = (short_dir / ".ollama" / "logs" / "server.log").read_text()
    assert "GET /api/version 200" in log
    assert "unused for 1 s: ending" in log


def test_a_server_started_by_hand_stays(short_dir: Path) -> None:
    with _started(short_dir, OLLAMA_JUPYTER_IDLE_EXIT="1ms") as (process, record):
        for _ in range(50):
            assert _get(record.host, "/api/version")[0] == 200
        assert process.poll() is None


def test_an_auto_started_server_stays_while_a_client_is_there(short_dir: Path) -> None:
    with _started(short_dir, "--auto", OLLAMA_JUPYTER_IDLE_EXIT="500ms") as (process, record):
        connection = http.client.HTTPConnection(record.host.name, record.host.port, timeout=10)
        connection.request("GET", "/api/events")
        reply = connection.getresponse()
        reply.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        reply.close()
        connection.close()
        assert process.wait(10) == 0


def test_a_taken_port_names_its_holder(short_dir: Path) -> None:
    with _started(short_dir) as (process, record):
        second = _start(short_dir, OLLAMA_HOST=record.url)
        _, said = second.communicate(timeout=DEADLINE_SECONDS)
        assert second.returncode == 1
        assert f"pid {process.pid}" in said
        assert "Traceback" not in said
        assert read_records(short_dir / "run") == [record]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OLLAMA_HOST": "0.0.0.0:0"}, "OLLAMA_API_KEY"),
        ({"OLLAMA_ORIGINS": "nonsense"}, "OLLAMA_ORIGINS"),
        ({"OLLAMA_MODELS": "/dev/null/models"}, "/dev/null"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_sentence(
    short_dir: Path, environ: dict[str, str], said: str
) -> None:
    process = _start(short_dir, **environ)
    _, text = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert said in text
    assert "Traceback" not in text


def test_a_shared_machine_s_server_asks_for_the_key_in_its_record(short_dir: Path) -> None:
    with _started(short_dir, OLLAMA_SHARED="1") as (_, record):
        assert record.api_key
        assert _get(record.host, "/api/tags")[0] == 401
        assert _get(record.host, "/api/tags", record.api_key)[0] == 200
        assert _get(record.host, "/api/version")[0] == 200


def test_a_server_on_a_socket_answers_there_and_removes_it(short_dir: Path) -> None:
    path = short_dir / "run" / "sock"
    with _started(short_dir, OLLAMA_HOST=f"unix:{path}") as (process, record):
        assert record.url == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not path.exists()


def test_an_idle_server_is_small_and_has_loaded_no_engine(short_dir: Path) -> None:
    with _started(short_dir) as (process, record):
        assert _get(record.host, "/api/tags")[0] == 200
        seen = psutil.Process(process.pid)
        assert seen.memory_info().rss < 80e6
        mapped = {Path(each.path).name for each in seen.memory_maps()}
        assert not [name for name in mapped if name.startswith(("libllama", "_multiarray"))]
