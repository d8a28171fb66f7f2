import pytest

from ollama_jupyter.prompt.gotemplate.compare import COMPARISONS
from ollama_jupyter.prompt.gotemplate.kinds import ExecutionError, Record, Value

RECORD = Record("message", {}, {})


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("eq", (1, 1), True),
        ("eq", (1, 2, 3), False),
        ("eq", (1, 2, 1), True),
        ("eq", ("a", "a"), True),
        ("eq", (True, True), True),
        ("eq", (None, None), True),
        ("eq", (None, "x"), False),
        ("eq", ("x", None), False),
        ("eq", (RECORD, RECORD), True),
        ("eq", (1, 1, "never looked at"), True),
        ("ne", (1, 2), True),
        ("ne", ("a", "a"), False),
        ("lt", (1, 2), True),
        ("le", (2, 2), True),
        ("gt", ("a", "b"), False),
        ("ge", (1.5, 1.0), True),
    ],
)
def test_comparison_gives(name: str, args: tuple[Value, ...], expected: bool) -> None:
    assert COMPARISONS[name][0](args) is expected


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("eq", (1,), "missing argument for comparison"),
        ("eq", (1, 1.0), "incompatible types for comparison: int and float64"),
        ("eq", (1, True), "incompatible types for comparison: int and bool"),
        ("eq", ("a", ("a",)), "incompatible types for comparison"),
        ("eq", (("a",), ("a",)), r"non-comparable type \[\]interface"),
        ("ne", (1, 2, 3), "wrong number of args for ne: want 2 got 3"),
        ("lt", (1,), "wrong number of args for lt: want 2 got 1"),
        ("lt", (True, False), "invalid type for comparison"),
        ("lt", (1, None), "invalid type for comparison"),
        ("ge", (1, "a"), "incompatible types for comparison: int and string"),
    ],
)
def test_comparison_refuses(name: str, args: tuple[Value, ...], message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        COMPARISONS[name][0](args)
