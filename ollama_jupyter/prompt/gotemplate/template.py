"""A Go template that can be asked what it mentions, and run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from ollama_jupyter.prompt.gotemplate.cut import cut_after_response
from ollama_jupyter.prompt.gotemplate.evaluate import Budget, Evaluation
from ollama_jupyter.prompt.gotemplate.functions import ADDED, FUNCTIONS, SHORT_CIRCUIT
from ollama_jupyter.prompt.gotemplate.kinds import Value
from ollama_jupyter.prompt.gotemplate.nodes import (
    ActionNode,
    AnyNode,
    ChainNode,
    CommandNode,
    FieldNode,
    IfNode,
    ListNode,
    PipeNode,
    RangeNode,
    TemplateNode,
    VariableNode,
    WithNode,
    fail,
)
from ollama_jupyter.prompt.gotemplate.parser import parse

_CALLABLE = frozenset((*FUNCTIONS, *ADDED, *SHORT_CIRCUIT))


@dataclass(frozen=True, eq=False)
class Template:
    """A parsed template; make one with `parse`.

    Attributes:
        source: the text it was parsed from.
        trees: its templates by name; "" is the one that runs.
        has_added_functions: whether Ollama's own functions can be called.
    """

    source: str
    trees: Mapping[str, ListNode]
    has_added_functions: bool = True

    @classmethod
    def parse(cls, source: str) -> Self:
        """The template; `{{ .Response }}` is appended when it mentions no messages or response.

        Raises:
            InvalidTemplate: with line and column of what does not parse.
        """
        template = cls(source, parse(source, _CALLABLE))
        if template.identifiers & {"messages", "response"}:
            return template
        end = len(source)
        field = FieldNode(end, ("Response",))
        pipe = PipeNode(end, False, (), (CommandNode(end, (field,)),))
        root = template.trees[""]
        longer = ListNode(root.position, (*root.nodes, ActionNode(end, pipe)))
        return replace(template, trees={**template.trees, "": longer})

    @property
    def root(self) -> ListNode:
        """The tree that runs."""
        return self.trees[""]

    @cached_property
    def identifiers(self) -> frozenset[str]:
        """Every field and variable it uses, in lower case, whatever branch it is in.

        Raises:
            InvalidTemplate: a `template` action has no argument.
        """
        names: set[str] = set()
        for tree in self.trees.values():
            for node in walk(tree):
                if isinstance(node, TemplateNode) and node.pipe is None:
                    raise fail(self.source, node.position, "undefined template specified")
                names.update(name.lower() for name in path_of(node))
        return frozenset(names)

    def execute(self, values: Mapping[str, Value], *, budget: Budget | None = None) -> str:
        """What it prints for `values`, which are its dot and its `$`.

        Args:
            values: the fields it can ask for; missing ones print `<no value>`.
            budget: what it may use; a fresh one when None.

        Raises:
            InvalidTemplate: it failed, or used up its budget.
        """
        functions = {**FUNCTIONS, **ADDED} if self.has_added_functions else FUNCTIONS
        evaluation = Evaluation(self.source, self.trees, functions, budget or Budget())
        return evaluation.run(dict(values))

    def cut_after_response(self) -> "Template":
        """It, without what follows its first `.Response` and without Ollama's functions."""
        trees = {**self.trees, "": cut_after_response(self.root)}
        return replace(self, trees=trees, has_added_functions=False)


def walk(node: AnyNode) -> Iterator[AnyNode]:
    """The node and everything below it, in document order."""
    yield node
    match node:
        case ListNode():
            children: tuple[AnyNode | None, ...] = node.nodes
        case ActionNode() | TemplateNode():
            children = (node.pipe,)
        case IfNode() | WithNode() | RangeNode():
            children = (node.pipe, node.body, node.otherwise)
        case PipeNode():
            children = node.commands
        case CommandNode():
            children = node.args
        case ChainNode():
            children = (node.operand,)
        case _:
            children = ()
    for child in children:
        if child is not None:
            yield from walk(child)


def path_of(node: AnyNode) -> tuple[str, ...]:
    """The names a node mentions itself."""
    return node.path if isinstance(node, FieldNode | VariableNode | ChainNode) else ()
