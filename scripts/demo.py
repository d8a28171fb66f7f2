"""Lets a real model answer, in a notebook and before your eyes; what `make demo` runs at its end.

A server of its own starts on a free port over a temporary store, whatever OLLAMA_HOST says and
whatever else runs. The quick-start notebook is executed from a copy without its outputs; questions
and answers are printed as they come, and the server is ended.
"""

import sys
import time
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from scripts.temporary_server import TemporaryServer, temporary_server

NOTEBOOK: Final = Path(__file__).resolve().parent.parent / "notebooks" / "01_first_chat.ipynb"
CELL_SECONDS: Final = 300
_KEY: Final = "ollama_jupyter"


class Narrator(NotebookClient):
    """Runs a notebook and tells what its chat cells ask and get."""

    def __init__(self, notebook: nbformat.NotebookNode, **options: Any) -> None:  # noqa: ANN401 - nbclient's own
        super().__init__(notebook, **options)
        self.figures: list[dict[str, Any]] = []
        self._shown = ""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:  # noqa: ANN401 - as above
        """Print what a message of the kernel adds to the answer of a chat cell."""
        if cell.source.startswith("%%chat"):
            kind, content = msg["msg_type"], msg["content"]
            if kind == "execute_input":
                self._shown = ""
                print(f"\n>>> {cell.source.partition(chr(10))[2]}", flush=True)
            elif kind in ("display_data", "update_display_data"):
                self._tell(content["data"].get("text/plain", ""), content["metadata"].get(_KEY))
        return super().process_message(msg, cell, cell_index)

    def _tell(self, text: str, figures: dict[str, Any] | None) -> None:
        print(text[len(self._shown) :], end="", flush=True)
        self._shown = text
        if figures is not None:
            self.figures.append(figures)
            print(f"\n    ({describe(figures)})", flush=True)


def describe(figures: dict[str, Any]) -> str:
    """The model, tokens and tokens per second of an answer."""
    tokens, ns = figures["eval_count"], figures["eval_duration"]
    rate = f"{tokens * 1e9 / ns:.1f} tokens per second" if ns else "rate unknown"
    return f"{figures['model']}: {tokens} tokens, {rate}"


def cleared_copy(path: Path) -> nbformat.NotebookNode:
    """A notebook without outputs and execution counts; the file stays as it is."""
    notebook: nbformat.NotebookNode = nbformat.reads(  # type: ignore[no-untyped-call]  # as above
        path.read_text(encoding="utf-8"), as_version=4
    )
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return notebook


def run_notebook(server: TemporaryServer, path: Path = NOTEBOOK) -> Narrator:
    """Execute a copy of a notebook against a server.

    Raises:
        CellExecutionError: a cell failed.
    """
    narrator = Narrator(
        cleared_copy(path),
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
    )
    narrator.execute(env=server.environ, cwd=str(server.home))
    return narrator


def main() -> int:
    """Run the demo; 0 when the model answered."""
    start = time.monotonic()
    try:
        with temporary_server() as server:
            print(f"A server runs at {server.url}; running {NOTEBOOK.name} on it.", flush=True)
            narrator = run_notebook(server)
    except (RuntimeError, CellExecutionError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    if not narrator.figures:
        print("demo: no cell of the notebook got an answer", file=sys.stderr)
        return 1
    print(f"\nDone in {time.monotonic() - start:.0f} s; the server has ended.")
    print("Try it yourself: make lab   (opens JupyterLab; then open 01_first_chat.ipynb)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
