"""Short ways to write the conversations of these tests."""

from ollama_jupyter.api.types import (
    JSON,
    Message,
    Tool,
    ToolCall,
    ToolCallFunction,
    ToolFunction,
    ToolParameters,
    ToolProperty,
)


def call(name: str, call_id: str = "", **arguments: JSON) -> ToolCall:
    return ToolCall(id=call_id, function=ToolCallFunction(name=name, arguments=arguments))


def says(role: str, content: str = "", *calls: ToolCall, thinking: str = "") -> Message:
    return Message(role=role, content=content, tool_calls=calls, thinking=thinking)


def shows(content: str, count: int) -> Message:
    return Message(role="user", content=content, images=(b"x",) * count)


def tool(name: str, description: str = "", **properties: ToolProperty) -> Tool:
    parameters = ToolParameters(type="object", properties=properties)
    function = ToolFunction(name=name, description=description, parameters=parameters)
    return Tool(type="function", function=function)
