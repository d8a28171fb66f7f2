"""What every test stands on: an environment of its own, and nothing left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

# A busy machine makes an example slow, not wrong.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

_OURS = ("OLLAMA_", "JUPYTERHUB_", "XDG_", "JUPYTER_", "IPYTHON")


@pytest.fixture(scope="session", autouse=True)
def _private_environment() -> Iterator[Path]:
    """No test reads the user's home, store, variables or running server."""
    saved = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(_OURS):
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="oj-home-"))
    runtime = home / "run"
    os.environ |= {"HOME": str(home), "OLLAMA_JUPYTER_RUNTIME_DIR": str(runtime)}
    yield home
    os.environ.clear()
    os.environ |= saved
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_process_left_behind(_private_environment: Path) -> Iterator[None]:
    """A process that a test started and did not end fails the run."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
    # One that is ending gets the time to do so.
    _, alive = psutil.wait_procs(left, timeout=5)
    shown = [f"{child.pid} {' '.join(child.cmdline())[:200]}" for child in alive]
    for child in alive:
        child.kill()
    assert not shown, f"processes left behind: {shown}"


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket in it (107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="oj-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
