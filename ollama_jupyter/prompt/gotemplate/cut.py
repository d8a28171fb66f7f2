"""The cut of a template behind its first `.Response`, for the run a model continues from.

The tree is walked in document order. The first field whose path has `Response` is kept; every
node visited after it goes. Conditions of if, with and range are not visited, and so never cut.
"""

from dataclasses import dataclass

from ollama_jupyter.prompt.gotemplate.nodes import (
    ActionNode,
    CommandNode,
    FieldNode,
    IfNode,
    ListNode,
    Node,
    Operand,
    PipeNode,
    RangeNode,
    WithNode,
)


def cut_after_response(tree: ListNode) -> ListNode:
    """A copy of `tree` that ends with its first `.Response`; whole when it has none."""
    return _Cut().list(tree)


@dataclass(slots=True)
class _Cut:
    is_done: bool = False

    def list(self, tree: ListNode) -> ListNode:
        kept = (self.node(node) for node in tree.nodes)
        return ListNode(tree.position, tuple(node for node in kept if node is not None))

    def node(self, node: Node) -> Node | None:
        if self.is_done:
            return None
        match node:
            case ActionNode():
                return ActionNode(node.position, self.pipe(node.pipe))
            case IfNode() | WithNode() | RangeNode():
                body = self.list(node.body)
                otherwise = None if node.otherwise is None else self.list(node.otherwise)
                return type(node)(node.position, node.pipe, body, otherwise)
            case _:
                return node

    def pipe(self, pipe: PipeNode) -> PipeNode:
        """Never empty: what is visited first is kept."""
        commands = map(self.command, pipe.commands)
        kept = tuple(command for command in commands if command is not None)
        return PipeNode(pipe.position, pipe.is_assignment, pipe.declared, kept)

    def command(self, command: CommandNode) -> CommandNode | None:
        args = tuple(arg for arg in map(self.operand, command.args) if arg is not None)
        return CommandNode(command.position, args) if args else None

    def operand(self, operand: Operand) -> Operand | None:
        if self.is_done:
            return None
        if isinstance(operand, PipeNode):
            return self.pipe(operand)
        if isinstance(operand, FieldNode) and "Response" in operand.path:
            self.is_done = True
        return operand
