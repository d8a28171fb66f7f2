"""Starting a server, or not (promises D6, H1, J7)."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scripts.temporary_server import environment, free_port, temporary_server
from tests.end_to_end.rest import Rest

pytestmark = pytest.mark.engine

SERVE = [sys.executable, "-m", "ollama_jupyter", "serve"]


def _serve(home: Path, url: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    environ = environment(home, url, changes)
    return subprocess.run(SERVE, env=environ, capture_output=True, text=True, timeout=20)


def test_a_taken_port_ends_serve_at_once_and_names_the_holder(short_dir: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        started = time.monotonic()
        done = _serve(short_dir, f"http://127.0.0.1:{port}")
    assert done.returncode != 0
    assert time.monotonic() - started < 5
    assert str(port) in done.stderr
    assert str(os.getpid()) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_address_without_a_key_refuses_to_start(short_dir: Path) -> None:
    done = _serve(short_dir, f"http://0.0.0.0:{free_port()}")
    assert done.returncode != 0
    assert "OLLAMA_API_KEY" in done.stderr


def test_the_default_address_is_the_loopback_only() -> None:
    with temporary_server() as server:
        listening = [
            c.laddr.ip
            for c in psutil.Process(server.process.pid).net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        ]
    assert listening == ["127.0.0.1"]


def test_an_open_address_with_a_key_asks_for_it() -> None:
    with temporary_server(OLLAMA_API_KEY="secret") as server:
        assert Rest(server.url).post("/api/show", {"model": "x"})[0] == 401


@pytest.mark.parametrize("_round", range(5))
def test_three_starters_at_once_give_one_server(short_dir: Path, _round: int) -> None:
    environ = environment(short_dir, f"http://127.0.0.1:{free_port()}", {})
    program = (
        "import os, json\n"
        "from ollama_jupyter.config import Config\n"
        "from ollama_jupyter.client.daemon import find_or_start\n"
        "connection = find_or_start(Config.from_environment(os.environ))\n"
        "print(json.dumps(connection.record.pid))\n"
    )

    def start(_: int) -> int:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        pids = set(pool.map(start, range(3)))
    (pid,) = pids
    server = psutil.Process(pid)
    server.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([server], timeout=10)
    assert not alive
    assert not list((short_dir / "run").glob("server-*.json"))


def test_a_record_of_a_process_that_is_not_ours_is_ignored_and_never_signalled(
    short_dir: Path,
) -> None:
    """A pid is used again by a stranger; starting goes on and the stranger lives."""
    url = f"http://127.0.0.1:{free_port()}"
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    first = subprocess.Popen(SERVE, env=environment(short_dir, url, {}))
    try:
        _wait_for_record(short_dir)
        first.kill()
        first.wait()
        (record,) = (short_dir / "run").glob("server-*.json")
        facts = json.loads(record.read_text())
        record.write_text(json.dumps(facts | {"pid": stranger.pid}))
        record.chmod(0o600)
        stopped = subprocess.run(
            [sys.executable, "-m", "ollama_jupyter", "shutdown"],
            env=environment(short_dir, url, {}),
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert "Traceback" not in stopped.stderr
        assert stranger.poll() is None
    finally:
        first.kill()
        first.wait()
        stranger.kill()
        stranger.communicate()


def _wait_for_record(home: Path) -> None:
    from tests.end_to_end.rest import wait_until

    wait_until(lambda: list((home / "run").glob("server-*.json")), 30, "the record is written")
