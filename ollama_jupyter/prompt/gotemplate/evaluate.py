"""Running a parsed template over values.

Templates come from strangers, so that everything here is paid for: each node, each round of a
range and each argument costs steps, each character made costs characters, and calls of other
templates nest only so deep. An exhausted budget is an InvalidTemplate like any other failure.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate import kinds
from ollama_jupyter.prompt.gotemplate.functions import SHORT_CIRCUIT, Function
from ollama_jupyter.prompt.gotemplate.kinds import ExecutionError, Value, is_true
from ollama_jupyter.prompt.gotemplate.nodes import (
    ActionNode,
    BreakNode,
    ChainNode,
    CommandNode,
    DotNode,
    FieldNode,
    IdentifierNode,
    IfNode,
    ListNode,
    LiteralNode,
    NilNode,
    Node,
    Operand,
    PipeNode,
    RangeNode,
    TemplateNode,
    TextNode,
    VariableNode,
    WithNode,
    fail,
)
from ollama_jupyter.prompt.gotemplate.printing import show

MAX_CALLS: Final = 50
"""Templates that may be inside one another."""

_SIZE_PER_STEP: Final = 4096  # bytes, characters or elements a function looks at for one step


@dataclass(slots=True)
class Budget:
    """What is left for one execution: steps, and characters printed or made on the way."""

    steps: int = 500_000
    characters: int = 8 << 20

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises:
            ExecutionError: they are used up.
        """
        self.steps -= steps
        if self.steps < 0:
            raise ExecutionError("template takes too many steps")

    def write(self, characters: int) -> None:
        """Take characters.

        Raises:
            ExecutionError: they are used up.
        """
        self.characters -= characters
        if self.characters < 0:
            raise ExecutionError("template makes too much text")


class _Break(Exception):
    """Unwinds to the innermost range."""


class _Continue(Exception):
    """Unwinds to the current round of the innermost range."""


_NOTHING: Final = object()
"""No value was piped into a command; None is a value."""


@dataclass(slots=True)
class Evaluation:
    """One execution of a set of templates.

    Attributes:
        source: the text they were parsed from, to name places in errors.
        trees: the templates by name.
        functions: what they may call, with the least and most arguments of each.
        budget: what this execution may use.
    """

    source: str
    trees: Mapping[str, ListNode]
    functions: Mapping[str, tuple[Function, int, int]]
    budget: Budget
    _out: list[str] = field(default_factory=list)
    _variables: list[tuple[str, Value]] = field(default_factory=list)
    _position: int = 0
    _calls: int = 0

    def run(self, data: Value) -> str:
        """What the template called "" prints for `data`.

        Raises:
            InvalidTemplate: with the place at which the execution failed.
        """
        self._variables = [("$", data)]
        try:
            self._list(data, self.trees[""])
        except ExecutionError as error:
            raise self._error(str(error)) from error
        except RecursionError as error:
            raise self._error("values or templates are nested too deep") from error
        return "".join(self._out)

    def _error(self, message: str) -> InvalidTemplate:
        return fail(self.source, self._position, message)

    # --- nodes ----------------------------------------------------------------------------

    def _list(self, dot: Value, tree: ListNode) -> None:
        for node in tree.nodes:
            self._node(dot, node)

    def _node(self, dot: Value, node: Node) -> None:
        self._position = node.position
        self.budget.spend(1)
        match node:
            case TextNode():
                self._print(node.text)
            case ActionNode():
                value = self._pipe(dot, node.pipe)
                if not node.pipe.declared:
                    self._print("<no value>" if value is None else show(value))
            case IfNode() | WithNode():
                self._condition(dot, node)
            case RangeNode():
                self._range(dot, node)
            case TemplateNode():
                self._template(dot, node)
            case BreakNode():
                raise _Break
            case _:
                raise _Continue

    def _print(self, text: str) -> None:
        self.budget.write(len(text))
        self._out.append(text)

    def _condition(self, dot: Value, node: IfNode | WithNode) -> None:
        mark = len(self._variables)
        value = self._pipe(dot, node.pipe)
        if is_true(value):
            self._list(value if isinstance(node, WithNode) else dot, node.body)
        elif node.otherwise is not None:
            self._list(dot, node.otherwise)
        del self._variables[mark:]

    def _range(self, dot: Value, node: RangeNode) -> None:
        outer = len(self._variables)
        value = self._pipe(dot, node.pipe)
        mark = len(self._variables)
        is_empty = True
        with contextlib.suppress(_Break):
            for index, element in self._elements(value, node):
                is_empty = False
                self.budget.spend(1)
                self._set_round(node.pipe, mark, index, element)
                with contextlib.suppress(_Continue):
                    self._list(element, node.body)
                del self._variables[mark:]
        del self._variables[mark:]
        if is_empty and node.otherwise is not None:
            self._list(dot, node.otherwise)
        del self._variables[outer:]

    def _elements(self, value: Value, node: RangeNode) -> Iterable[tuple[Value, Value]]:
        if value is None:
            return ()
        if isinstance(value, dict):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, bytes | tuple | list):
            return enumerate(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if len(node.pipe.declared) > 1:
                raise ExecutionError(f"can't use {value} to iterate over more than one variable")
            return ((None, number) for number in range(value))
        raise ExecutionError(f"range can't iterate over {show(value)[:80]}")

    def _set_round(self, pipe: PipeNode, mark: int, index: Value, element: Value) -> None:
        """The variables of one round; with two of them the index comes first."""
        names = pipe.declared
        values = (index, element) if len(names) > 1 else (element,)
        if pipe.is_assignment:
            for name, value in zip(names, values, strict=False):
                self._assign(name, value)
            return
        start = mark - len(names)
        self._variables[start:mark] = zip(names, values, strict=False)

    def _template(self, dot: Value, node: TemplateNode) -> None:
        tree = self.trees.get(node.name)
        if tree is None:
            raise ExecutionError(f'template "{node.name}" not defined')
        if self._calls >= MAX_CALLS:
            raise ExecutionError(f"more than {MAX_CALLS} templates inside one another")
        data = None if node.pipe is None else self._pipe(dot, node.pipe)
        variables, self._variables = self._variables, [("$", data)]
        self._calls += 1
        self._list(data, tree)
        self._calls -= 1
        self._variables = variables

    # --- pipelines ------------------------------------------------------------------------

    def _pipe(self, dot: Value, pipe: PipeNode) -> Value:
        value: Value = _NOTHING
        for command in pipe.commands:
            value = self._command(dot, command, value)
        for name in pipe.declared:
            if pipe.is_assignment:
                self._assign(name, value)
            else:
                self._variables.append((name, value))
        return value

    def _assign(self, name: str, value: Value) -> None:
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return
        raise ExecutionError(f"undefined variable: {name}")

    def _command(self, dot: Value, command: CommandNode, final: Value) -> Value:
        first, *args = command.args
        if isinstance(first, IdentifierNode):
            return self._function(dot, first, args, final)
        self._position = first.position
        if args or final is not _NOTHING:
            raise ExecutionError("can't give argument to non-function")
        if isinstance(first, NilNode):
            raise ExecutionError("nil is not a command")
        return self._operand(dot, first)

    def _operand(self, dot: Value, node: Operand) -> Value:
        self._position = node.position
        self.budget.spend(1)
        match node:
            case FieldNode():
                return self._fields(dot, node.path)
            case VariableNode():
                return self._fields(self._variable(node.path[0]), node.path[1:])
            case ChainNode():
                return self._fields(self._operand(dot, node.operand), node.path)
            case PipeNode():
                return self._pipe(dot, node)
            case LiteralNode():
                return node.value
            case DotNode():
                return dot
            case NilNode():
                return None
            case _:
                return self._function(dot, node, (), _NOTHING)

    def _fields(self, value: Value, path: Sequence[str]) -> Value:
        for name in path:
            value = kinds.field(value, name)
        return value

    def _variable(self, name: str) -> Value:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise ExecutionError(f"undefined variable: {name}")

    # --- functions ------------------------------------------------------------------------

    def _function(
        self, dot: Value, node: IdentifierNode, args: Sequence[Operand], final: Value
    ) -> Value:
        if node.name in SHORT_CIRCUIT:
            return self._short_circuit(dot, node, args, final)
        entry = self.functions.get(node.name)
        if entry is None:
            self._position = node.position
            raise ExecutionError(f'"{node.name}" is not a defined function')
        values = [self._operand(dot, arg) for arg in args]
        if final is not _NOTHING:
            values.append(final)
        self._position = node.position
        function, least, most = entry
        if not least <= len(values) <= most:
            wanted = f"at least {least}" if len(values) < least < most else str(most)
            raise ExecutionError(
                f"wrong number of args for {node.name}: want {wanted} got {len(values)}"
            )
        self.budget.spend(2 + sum(map(_size, values)) // _SIZE_PER_STEP)
        result = function(values)
        if isinstance(result, str):
            self.budget.write(len(result))
        return result

    def _short_circuit(
        self, dot: Value, node: IdentifierNode, args: Sequence[Operand], final: Value
    ) -> Value:
        """`and` gives its first false operand, `or` its first true one, else the last."""
        if not args and final is _NOTHING:
            raise ExecutionError(f"wrong number of args for {node.name}: want at least 1 got 0")
        value: Value = None
        for arg in args:
            value = self._operand(dot, arg)
            if is_true(value) == (node.name == "or"):
                return value
        return value if final is _NOTHING else final


def _size(value: Value) -> int:
    return len(value) if isinstance(value, str | bytes | tuple | list | dict) else 0
