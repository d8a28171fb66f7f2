"""Where the log goes, who may read it, and what never gets in."""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_jupyter.config import Config
from ollama_jupyter.errors import StoreError
from ollama_jupyter.server import logs

LOGGER = logging.getLogger("ollama_jupyter.test")


def _config(home: Path, **environ: str) -> Config:
    return Config.from_environment({"HOME": str(home), **environ})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A log file that is written to while the test runs."""
    handler = logs.set_up(_config(tmp_path), is_background=True, secrets=("k3y",))
    yield tmp_path / ".ollama" / "logs" / "server.log"
    logs.take_down(handler)


def test_a_background_server_writes_a_file_only_its_user_reads(log: Path) -> None:
    LOGGER.info("hello")
    assert log.read_text().endswith("INFO ollama_jupyter.test: hello\n")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_log_goes_on_where_it_ended(log: Path, tmp_path: Path) -> None:
    LOGGER.info("first")
    second = logs.set_up(_config(tmp_path), is_background=True, secrets=())
    LOGGER.info("second")
    logs.take_down(second)
    assert log.read_text().count("first") == 1


def test_credentials_are_taken_out(log: Path) -> None:
    LOGGER.warning("sent %s and %s", "Authorization: Bearer abc.def", "key=k3y")
    text = log.read_text()
    assert "abc.def" not in text
    assert "k3y" not in text
    assert "Bearer ***" in text


def test_a_large_log_is_rotated_and_the_old_ones_are_few(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = logging.getLogger("ollama_jupyter").handlers
    (handler,) = (each for each in handlers if isinstance(each, logs.PrivateRotatingFile))
    monkeypatch.setattr(handler, "maxBytes", 1000)
    for number in range(100):
        LOGGER.info("line %d %s", number, "x" * 80)
    files = sorted(path.name for path in log.parent.iterdir())
    assert files == ["server.log", "server.log.1", "server.log.2"]
    assert all(path.stat().st_size <= 1000 for path in log.parent.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in log.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(("debug", "seen"), [("", False), ("1", True), ("-1", False)])
def test_the_level_is_the_configured_one(tmp_path: Path, debug: str, seen: bool) -> None:
    config = _config(tmp_path, OLLAMA_DEBUG=debug)
    handler = logs.set_up(config, is_background=True, secrets=())
    LOGGER.debug("detail")
    logs.take_down(handler)
    assert ("detail" in (config.user_dir / "logs" / "server.log").read_text()) == seen


def test_a_foreground_server_writes_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logs.set_up(_config(tmp_path), is_background=False, secrets=())
    LOGGER.info("hello")
    logs.take_down(handler)
    assert "hello" in capsys.readouterr().err
    assert not (tmp_path / ".ollama").exists()


def test_a_link_in_the_log_s_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "canary"
    target.write_text("untouched")
    (tmp_path / ".ollama" / "logs").mkdir(parents=True)
    (tmp_path / ".ollama" / "logs" / "server.log").symlink_to(target)
    with pytest.raises(StoreError, match="cannot write the log"):
        logs.set_up(_config(tmp_path), is_background=True, secrets=())
    assert target.read_text() == "untouched"
