import pytest

from ollama_jupyter.errors import OllamaError, ServerError, ServerUnreachable
from ollama_jupyter.notebook.failures import CellFailed, CellInterrupted, explain


def test_a_failure_is_one_line_that_cannot_drive_a_terminal() -> None:
    assert str(CellFailed("a\n  b\x1b[31m\tc")) == "a b c"
    assert CellFailed("x")._render_traceback_() == ["Error: x"]
    assert CellInterrupted("x")._render_traceback_() == ["x"]


def test_a_missing_model_names_the_command_that_gets_it() -> None:
    error = ServerError('model "x:1b" not found', http_status=404)
    assert str(explain(error, model="x:1b")) == (
        "model 'x:1b' is not installed; get it with: %ollama pull x:1b"
    )


@pytest.mark.parametrize(
    ("error", "model"),
    [
        (ServerError("404 page not found", http_status=404), ""),
        (ServerError("model is damaged", http_status=500), "x"),
        (ServerUnreachable("no answer"), "x"),
    ],
)
def test_other_errors_say_what_they_say(error: OllamaError, model: str) -> None:
    assert str(explain(error, model=model)) == str(error)
