"""The tree a Go template parses to.

Every node carries `position`, the offset in characters of its first token, from which `fail` works
out a line and a column when something goes wrong. Nodes never change; the cut that the last legacy
run needs (`cut.py`) builds a new tree.
"""

from dataclasses import dataclass
from typing import TypeAlias

from ollama_jupyter.errors import InvalidTemplate


@dataclass(frozen=True, slots=True)
class TextNode:
    """Text outside actions, already trimmed by the markers beside it."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class DotNode:
    """`.`, the current value."""

    position: int


@dataclass(frozen=True, slots=True)
class NilNode:
    """The constant `nil`."""

    position: int


@dataclass(frozen=True, slots=True)
class LiteralNode:
    """A string, number, character or boolean constant."""

    position: int
    value: str | int | float


@dataclass(frozen=True, slots=True)
class IdentifierNode:
    """The name of a function."""

    position: int
    name: str


@dataclass(frozen=True, slots=True)
class FieldNode:
    """`.A.B`: a chain of fields, starting at dot."""

    position: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariableNode:
    """`$x.A.B`; `path[0]` is the variable with its dollar sign, `$` alone is the root."""

    position: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainNode:
    """`(pipeline).A.B`: fields of a value that is no field or variable itself."""

    position: int
    operand: "Operand"
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandNode:
    """One stage of a pipeline: a value, or a function and its arguments. Never empty."""

    position: int
    args: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class PipeNode:
    """Commands joined by `|`, each passing its value on as the last argument of the next.

    `declared` are the variables it sets: new ones, or existing ones when `is_assignment`.
    """

    position: int
    is_assignment: bool
    declared: tuple[str, ...]
    commands: tuple[CommandNode, ...]


@dataclass(frozen=True, slots=True)
class ActionNode:
    """A pipeline whose value is printed, unless it sets variables."""

    position: int
    pipe: PipeNode


@dataclass(frozen=True, slots=True)
class ListNode:
    """Nodes one after another."""

    position: int
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class _BranchNode:
    position: int
    pipe: PipeNode
    body: ListNode
    otherwise: ListNode | None


@dataclass(frozen=True, slots=True)
class IfNode(_BranchNode):
    """`if`; an `else if` is an IfNode alone in `otherwise`."""


@dataclass(frozen=True, slots=True)
class WithNode(_BranchNode):
    """`with`: the body sees the value as dot."""


@dataclass(frozen=True, slots=True)
class RangeNode(_BranchNode):
    """`range`: the body once for each element."""


@dataclass(frozen=True, slots=True)
class BreakNode:
    """`break` out of the innermost range."""

    position: int


@dataclass(frozen=True, slots=True)
class ContinueNode:
    """`continue` with the next element of the innermost range."""

    position: int


@dataclass(frozen=True, slots=True)
class TemplateNode:
    """`template "name" pipeline`: another template, with the value as its dot and its `$`."""

    position: int
    name: str
    pipe: PipeNode | None


Branch: TypeAlias = IfNode | WithNode | RangeNode

Operand: TypeAlias = (
    DotNode
    | NilNode
    | LiteralNode
    | IdentifierNode
    | FieldNode
    | VariableNode
    | ChainNode
    | PipeNode
)

Node: TypeAlias = TextNode | ActionNode | Branch | BreakNode | ContinueNode | TemplateNode

AnyNode: TypeAlias = ListNode | Node | CommandNode | Operand


def fail(source: str, position: int, message: str) -> InvalidTemplate:
    """The error to raise for `message` at an offset of `source`, with line and column from 1."""
    line = source.count("\n", 0, position) + 1
    column = position - source.rfind("\n", 0, position)
    return InvalidTemplate(f"template: :{line}:{column}: {message}", line=line, column=column)
