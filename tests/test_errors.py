import inspect

import pytest

from ollama_jupyter import errors
from ollama_jupyter.errors import (
    BadRequest,
    InsufficientMemory,
    InvalidModelfile,
    InvalidTemplate,
    OllamaError,
    RunnerDied,
    RunnerStartFailed,
    ServerError,
)

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, OllamaError)
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_stands_in_the_tree_with_its_status(error: type[OllamaError]) -> None:
    line = next(line for line in str(errors.__doc__).splitlines() if f" {error.__name__} " in line)
    if error not in (OllamaError, ServerError):
        assert line.endswith(f" {error.status}")


@pytest.mark.parametrize("error", CLASSES)
def test_only_the_callers_fault_is_a_bad_request(error: type[OllamaError]) -> None:
    assert (error.status == 400) == issubclass(error, BadRequest)


def test_errors_carry_their_facts_beside_the_message() -> None:
    modelfile = InvalidModelfile("m", line=3)
    template = InvalidTemplate("t", line=1, column=2)
    memory = InsufficientMemory("i", wanted_bytes=5, free_bytes=4)
    start = RunnerStartFailed("s", exit_code=-9, log_tail="log")
    died, server = RunnerDied("d", exit_code=1), ServerError("e", http_status=503)
    assert [str(error) for error in (modelfile, template, memory, start, died, server)] == list(
        "mtisde"
    )
    assert modelfile.line == 3
    assert (template.line, template.column) == (1, 2)
    assert (memory.wanted_bytes, memory.free_bytes) == (5, 4)
    assert (start.exit_code, start.log_tail) == (-9, "log")
    assert (died.exit_code, server.http_status) == (1, 503)


def test_errors_know_nothing_they_were_not_told() -> None:
    assert (InvalidModelfile("m").line, InvalidTemplate("t").line) == (0, 0)
    assert (RunnerStartFailed("s").exit_code, RunnerDied("d").exit_code) == (None, None)
