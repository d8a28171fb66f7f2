"""What the tests of this folder share: running a parser over a text."""

from collections.abc import Sequence

from ollama_jupyter.api.types import (
    JSON,
    Message,
    Think,
    Tool,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)
from ollama_jupyter.inference.output.families import parser_named

Result = tuple[str, str, list[tuple[str, JSON]]]

WEATHER = Tool(
    function=ToolFunction(
        name="weather",
        parameters=ToolParameters(
            properties={
                "city": ToolProperty(type="string"),
                "days": ToolProperty(type="integer"),
                "share": ToolProperty(type=("string", "number")),
                "is_hot": ToolProperty(type="boolean"),
                "hours": ToolProperty(type="array"),
                "where": ToolProperty(any_of=(ToolProperty(type="object"),)),
            }
        ),
    )
)


def parse(
    name: str,
    *chunks: str,
    think: Think | None = None,
    last: Message | None = None,
    tools: Sequence[Tool] = (WEATHER,),
) -> Result:
    """Content, thinking and calls of all chunks joined."""
    parser = parser_named(name)
    assert parser is not None
    assert parser.init(tools, last, think) == tools
    parsed = [parser.add(chunk, at == len(chunks) - 1) for at, chunk in enumerate(chunks)]
    calls = [call.function for _, _, found in parsed for call in found]
    assert [call.index for call in calls] == list(range(len(calls)))
    return (
        "".join(content for content, _, _ in parsed),
        "".join(thinking for _, thinking, _ in parsed),
        [(call.name, call.arguments) for call in calls],
    )
