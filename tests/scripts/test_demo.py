"""The demo's narration, with a server that plays the other side; the real one is in notebooks/."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from scripts.demo import NOTEBOOK, cleared_copy, describe, run_notebook
from scripts.temporary_server import TemporaryServer
from tests.fakes.contract_server import ContractServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TemporaryServer]:
    """What the demo is told about a server, for the one that plays it."""
    with ContractServer() as contract_server:
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait(30)
        yield TemporaryServer(
            url=contract_server.url,
            home=tmp_path,
            environ={**os.environ, "OLLAMA_HOST": contract_server.url},
            process=process,
            log=tmp_path / "server.log",
        )


def notebook_file(folder: Path, *cells: str) -> Path:
    path = folder / "small.ipynb"
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]  # nbformat has no types
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]  # as above
    )
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # as above
    return path


def test_questions_answers_and_speed_are_told_in_order(
    server: TemporaryServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook_file(tmp_path, "%load_ext ollama_jupyter", "%%chat echo\nsay it", "print(1)")
    before = path.read_bytes()
    narrator = run_notebook(server, path)
    assert capsys.readouterr().out == (
        "\n>>> say it\nsay it \n    (echo: 5 tokens, 5.0 tokens per second)\n"
    )
    assert [figures["eval_count"] for figures in narrator.figures] == [5]
    assert path.read_bytes() == before


def test_a_failing_cell_fails_the_run_with_its_one_line(
    server: TemporaryServer, tmp_path: Path
) -> None:
    path = notebook_file(tmp_path, "%load_ext ollama_jupyter", "%%chat nosuch\nx")
    with pytest.raises(CellExecutionError, match="get it with: %ollama pull nosuch"):
        run_notebook(server, path)


def test_the_copy_has_no_outputs_whatever_the_file_holds(tmp_path: Path) -> None:
    path = notebook_file(tmp_path, "1")
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # as above
    output = nbformat.v4.new_output("stream", text="old")  # type: ignore[no-untyped-call]  # as above
    notebook.cells[0].outputs = [output]
    notebook.cells[0].execution_count = 3
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # as above
    (cell,) = cleared_copy(path).cells
    assert cell.outputs == []
    assert cell.execution_count is None


def test_speed_is_unknown_when_the_server_did_not_say() -> None:
    figures = {"model": "m", "eval_count": 0, "eval_duration": 0}
    assert describe(figures) == "m: 0 tokens, rate unknown"


def test_the_quick_start_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # as above
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
