"""A model file's own chat template, rendered with what such templates expect.

The template is a stranger's program. The sandbox keeps it from running code of ours; it does not
keep it from running for ever or from filling memory, so whoever calls `render_jinja` does so in a
process with a deadline and a memory limit.

What templates find follows Hugging Face transformers (utils/chat_template_utils.py): blocks are
trimmed, `break` and `continue` work, `tojson` leaves characters as they are.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ollama_jupyter.errors import InvalidTemplate

MAX_OUTPUT_CHARACTERS = 4 << 20
MAX_RANGE = 10_000
_MAX_POWER = 64
_MAX_WIDTH = 10_000


class _Generation(Extension):
    """`{% generation %}`, which marks the model's words for training: its body, unchanged."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it as a set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, with a second line against values that grow without bound."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Refuse the operators that make something huge of something small."""
        if operator == "**" and (abs(right) > _MAX_POWER or abs(left) > 1 << 32):
            raise InvalidTemplate("the template raises a number to a power that is too big")
        if operator == "*":
            sizes = [len(value) for value in (left, right) if isinstance(value, str | list | tuple)]
            counts = [value for value in (left, right) if isinstance(value, int)]
            if sizes and counts and sizes[0] * counts[0] > MAX_OUTPUT_CHARACTERS:
                raise InvalidTemplate("the template repeats a text too often")
        if operator == "%" and isinstance(left, str) and _has_wide_field(left):
            raise InvalidTemplate("the template formats a field that is too wide")
        return super().call_binop(context, operator, left, right)


def _has_wide_field(text: str) -> bool:
    digits = ""
    for character in text:
        digits = digits + character if character.isdigit() else ""
        if len(digits) > 1 and int(digits[:20]) > _MAX_WIDTH:
            return True
    return "*" in text


def _range(*limits: int) -> range:
    numbers = range(*limits)
    if len(numbers) > MAX_RANGE:
        raise InvalidTemplate(
            f"the template counts over {len(numbers)} numbers; {MAX_RANGE} at most"
        )
    return numbers


def _raise_exception(message: str) -> None:
    raise InvalidTemplate(message)


def _to_json(
    value: Any,  # noqa: ANN401 - what the template passes
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)


def render_jinja(template: str, values: Mapping[str, Any]) -> str:
    """The text the template makes of the values.

    Args:
        template: Jinja text.
        values: messages, tools, add_generation_prompt, bos_token, eos_token and the like, as
            plain JSON.

    Raises:
        InvalidTemplate: it does not parse, fails, refuses the messages, or writes too much.
    """
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, _Generation],
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        range=_range, raise_exception=_raise_exception, strftime_now=_strftime_now
    )
    pieces: list[str] = []
    size = 0
    try:
        for piece in environment.from_string(template).generate(**values):
            size += len(piece)
            if size > MAX_OUTPUT_CHARACTERS:
                raise InvalidTemplate("the template writes more than 4 MiB")
            pieces.append(piece)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidTemplate(f"chat template: {error.message}", line=error.lineno) from error
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise InvalidTemplate(f"chat template: {error}") from error
    return "".join(pieces)
