"""A scheduler over fake runners in real processes."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.catalog.model import Model
from ollama_jupyter.config import Config
from ollama_jupyter.scheduler.scheduler import Scheduler
from tests.fakes.models import model_for
from tests.fakes.runners import FAKE_COMMAND, is_alive, starts, write_script

MakeScheduler = Callable[..., Scheduler]
MakeModel = Callable[..., Model]


def left_by(folder: Path) -> list[str]:
    """Processes that live and sockets that lie about."""
    noted = [pid for file in folder.glob("*.starts") for pid in starts(file.with_suffix(""))]
    alive = [f"process {pid}" for pid in noted if is_alive(pid)]
    return alive + [str(path) for path in (folder / "run").glob("*")]


@pytest.fixture
def make_model(short_dir: Path) -> MakeModel:
    """Makes a model by name whose runner follows a script."""

    def make(name: str = "weights", **script: Any) -> Model:  # noqa: ANN401 - the fake checks it
        return model_for(write_script(short_dir / name, **script))

    return make


@pytest.fixture
async def make_scheduler(short_dir: Path) -> AsyncIterator[MakeScheduler]:
    """Makes a scheduler from environment variables; it is closed and must leave nothing."""
    made: list[Scheduler] = []

    def make(**environ: str) -> Scheduler:
        config = Config.from_environment(
            {
                "HOME": str(short_dir / "home"),
                "OLLAMA_JUPYTER_RUNTIME_DIR": str(short_dir / "run"),
                **environ,
            }
        )
        made.append(Scheduler(config, command=FAKE_COMMAND))
        return made[-1]

    yield make
    for scheduler in made:
        await scheduler.close()
        assert scheduler.loaded() == []
    assert left_by(short_dir) == []
