"""Tool calls told apart from content while the text arrives.

What a template writes before a call is the tag that announces one. Behind it, the name of a tool
and the JSON object that comes with it make a call, whatever stands around them; models differ too
much in that to ask for more.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ollama_jupyter.api.types import JSON, Tool, ToolCall, ToolCallFunction
from ollama_jupyter.inference.output.thinking import overlap
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.tags import call_tag

_BRACKETS: Final = {"{": "}", "[": "]"}
_STRUCTURE: Final = re.compile(
    r"""
      \\.                            # anything escaped
    | "(?:[^"\\]|\\.)*+(?:"|\\?\Z)  # a string, the last one perhaps unfinished
    | [{}\[\]]
    """,
    re.VERBOSE | re.DOTALL,
)


class ToolParser:
    """Takes the calls of known tools out of a text."""

    def __init__(self, template: Template, tools: Sequence[Tool]) -> None:
        """Wait for what announces a call.

        Args:
            template: the model's template, which shows how calls are written.
            tools: the tools that can be called.
        """
        self.tag = call_tag(template)
        self.names = tuple(tool.function.name for tool in tools if tool.function.name)
        self.calls = 0
        self._held = ""
        self._is_calling = False
        self._is_done = False

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """The content and the calls that are certain, now that `text` has arrived too."""
        if self._is_done:
            return text, []
        self._held += text
        content = ""
        if not self._is_calling:
            content = self._look_for_tag()
            if not self._is_calling:
                return content, []
        calls = list(self._take_calls())
        if is_balanced(self.tag, self._held):
            self._is_done = True
            content += self._held
            self._held = ""
        return content, calls

    def leftover(self) -> str:
        """What was held back at the end of the text and turned out to be content."""
        return leftover(self.tag, self._held, self.calls)

    def _look_for_tag(self) -> str:
        """The content before the tag; what may still become one is held back."""
        at, is_found = find_tag(self.tag, self._held)
        end = at if at >= 0 else len(self._held)
        content, self._held = self._held[:end], self._held[end:]
        if self.tag in _BRACKETS and content.strip():
            # A bare bracket announces a call only at the very beginning.
            self._is_done = True
            content, self._held = content + self._held, ""
        else:
            self._is_calling = is_found
        return content

    def _take_calls(self) -> Iterator[ToolCall]:
        while True:
            found = find_tool(self.names, self._held)
            if found is None:
                return
            name, name_end = found
            arguments, arguments_end = find_arguments(name, self._held)
            if arguments is None:
                return
            function = ToolCallFunction(index=self.calls, name=name, arguments=arguments)
            self.calls += 1
            self._held = self._held[max(name_end, arguments_end) :]
            yield ToolCall(function=function)


# --- finding --------------------------------------------------------------------------------


def find_tag(tag: str, text: str) -> tuple[int, bool]:
    """Where the tag is and whether all of it is there; (-1, False) when no part of it is."""
    at = text.find(tag)
    if at >= 0:
        return at, True
    size = overlap(text, tag)
    return (len(text) - size, False) if size else (-1, False)


def find_tool(names: Sequence[str], text: str) -> tuple[str, int] | None:
    """The tool named first and the offset behind its name; None while that may change.

    Of names that start at the same place, the longest counts; a text that ends inside a name has
    to go on first.
    """
    if any(overlap(text, name) for name in names):
        return None
    places = [(at, -len(name), name) for name in names if (at := text.find(name)) >= 0]
    if not places:
        return None
    at, _, name = min(places)
    return name, at + len(name)


def find_arguments(name: str, text: str) -> tuple[dict[str, JSON] | None, int]:
    """The arguments in the first complete object, and the offset of its closing brace.

    None while there are none.
    """
    for start, end in _objects(text):
        found = _decode(text[start : end + 1])
        if isinstance(found, dict):
            return _arguments(name, found), end
    return None, 0


def _objects(text: str) -> Iterator[tuple[int, int]]:
    """Offsets of the first and last brace of each outermost object."""
    start = depth = 0
    for match in _STRUCTURE.finditer(text):
        if match[0] == "{":
            start = start if depth else match.start()
            depth += 1
        elif match[0] == "}" and depth:
            depth -= 1
            if not depth:
                yield start, match.start()


def _decode(text: str) -> JSON:
    """The value of a JSON text, None when it is none."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _arguments(name: str, found: dict[str, JSON]) -> dict[str, JSON] | None:
    """The arguments in an object that is a call, holds one, or is the arguments itself."""
    is_known, arguments = _search(name, found)
    return arguments if is_known else found


def _search(name: str, found: JSON) -> tuple[bool, dict[str, JSON] | None]:
    """Whether there is a call somewhere in a value, and its arguments if it has any."""
    if isinstance(found, list):
        return _first(name, found)
    if not isinstance(found, dict):
        return False, None
    if "name" in found:
        arguments = _object(found.get("arguments"))
        return True, _object(found.get("parameters")) if arguments is None else arguments
    if name in found and (arguments := _object(found[name])) is not None:
        return True, arguments
    return _first(name, list(found.values()))


def _first(name: str, values: list[JSON]) -> tuple[bool, dict[str, JSON] | None]:
    results = (_search(name, value) for value in values)
    return next((result for result in results if result[0]), (False, None))


def _object(value: JSON) -> dict[str, JSON] | None:
    """The value if it is an object, or the text of one."""
    if isinstance(value, str):
        value = _decode(value)
    return value if isinstance(value, dict) else None


def is_balanced(tag: str, text: str) -> bool:
    """Whether the bracket that is the tag has been opened and closed again outside strings."""
    closing = _BRACKETS.get(tag)
    if closing is None:
        return False
    depth = 0
    for match in _STRUCTURE.finditer(text):
        if match[0] == tag:
            depth += 1
        elif match[0] == closing:
            depth -= 1
            if not depth:
                return True
    return False


def leftover(tag: str, text: str, calls: int) -> str:
    """The text held back at the end that is content: a bracket that was no call."""
    return text if not calls and tag in _BRACKETS else ""
