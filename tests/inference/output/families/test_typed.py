import pytest

from ollama_jupyter.api.types import JSON
from ollama_jupyter.inference.output.families.typed import typed_value
from tests.inference.output.families.parsing import WEATHER


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        ("city", "3", "3"),
        ("city", "NULL", None),
        ("days", "3", 3),
        ("days", "three", "three"),
        ("share", "0.5", 0.5),
        ("share", "half", "half"),
        ("is_hot", "True", True),
        ("is_hot", "false", False),
        ("is_hot", "perhaps", False),
        ("hours", "[1, 2]", [1, 2]),
        ("hours", "1, 2", "1, 2"),
        ("where", '{"a": 1}', {"a": 1}),
        ("unknown", "3", "3"),
    ],
)
def test_typed_value_follows_the_schema(parameter: str, text: str, value: JSON) -> None:
    assert typed_value(text, "weather", parameter, [WEATHER]) == value


def test_typed_value_is_text_when_the_tool_is_unknown() -> None:
    assert typed_value("3", "other", "days", [WEATHER]) == "3"


def test_typed_value_keeps_a_whole_number_whole() -> None:
    assert repr(typed_value("5", "weather", "share", [WEATHER])) == "5"
