"""The quick start, run headless from a copy, with the real model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_jupyter.notebook.display import METADATA_KEY
from scripts.demo import NOTEBOOK, run_notebook
from scripts.temporary_server import temporary_server


@pytest.mark.engine
def test_the_quick_start_runs_and_the_model_answers(capsys: pytest.CaptureFixture[str]) -> None:
    before = NOTEBOOK.read_bytes()
    with temporary_server() as server:
        narrator = run_notebook(server)
        url = server.url
    cells = {cell.id: cell for cell in narrator.nb.cells}
    assert url in cells["status"].outputs[0].text
    assert "smollm2:135m" in cells["list"].outputs[0].text

    (first,) = cells["ask"].outputs
    assert first.output_type == "display_data"
    assert "Tokyo" in first.data["text/plain"]
    figures = first.metadata[METADATA_KEY]
    assert figures["done_reason"] == "stop"
    assert figures["eval_count"] > 0
    assert figures["eval_duration"] > 0

    # The second prompt holds the first turn, both sides of it.
    (second,) = cells["follow"].outputs
    asked = second.metadata[METADATA_KEY]["prompt_eval_count"]
    assert asked > figures["prompt_eval_count"] + figures["eval_count"]

    assert "smollm2:135m" in cells["ps"].outputs[0].text
    assert "Forgot" in cells["reset"].outputs[0].text
    assert "Tokyo" in cells["rest"].outputs[0].text
    assert "tokens per second" in cells["rest"].outputs[0].text
    assert "unloaded" in cells["stop"].outputs[0].text

    told = capsys.readouterr().out
    assert ">>> What is the capital of Japan?" in told
    assert "tokens per second" in told
    assert NOTEBOOK.read_bytes() == before


@pytest.mark.engine
def test_every_cell_of_the_quick_start_runs_under_nbval(tmp_path: Path) -> None:
    copy = shutil.copy(NOTEBOOK, tmp_path)
    with temporary_server() as server:
        command = [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, str(copy)],
            cwd=tmp_path,
            env=server.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout
