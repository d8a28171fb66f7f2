"""How a cell fails: one line that says what and what to do, and no traceback.

IPython lets an exception render itself. With that the cell is marked failed, so "Run All" stops
at it and nbclient notices, while the reader sees a sentence. A print to stderr would look the same
and let the cells below run on an answer that never came.
"""

from ollama_jupyter.errors import OllamaError, ServerError
from ollama_jupyter.notebook.inert import plain


class CellFailed(Exception):
    """A cell that could not do its work; `str(error)` is the one line shown."""

    def __init__(self, message: str) -> None:
        """Keep the message as one line that cannot drive a terminal."""
        super().__init__(" ".join(plain(message).split()))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"Error: {self}"]


class CellInterrupted(CellFailed):
    """The user interrupted the kernel; what had come of the answer is kept."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


def explain(error: OllamaError, *, model: str = "") -> CellFailed:
    """The cell's failure for an error of the client; a missing model names the way to get it."""
    is_missing = isinstance(error, ServerError) and error.http_status == 404
    if model and is_missing and "not found" in str(error):
        return CellFailed(f"model {model!r} is not installed; get it with: %ollama pull {model}")
    return CellFailed(str(error))
