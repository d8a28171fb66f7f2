"""From the text of a Go template to its trees.

A recursive descent along text/template's own grammar, with its rules about which variables and
functions exist. Nesting is bounded, so that no template can exhaust the stack here.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate import literals
from ollama_jupyter.prompt.gotemplate.lexer import Kind, Token, tokenize
from ollama_jupyter.prompt.gotemplate.nodes import (
    ActionNode,
    Branch,
    BreakNode,
    ChainNode,
    CommandNode,
    ContinueNode,
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

MAX_NESTING: Final = 100
"""Levels of blocks and parentheses a template may have."""

MAX_TOKENS: Final = 200_000
"""Tokens a template may have; a text without actions is one, whatever its length."""

_BRANCHES: Final[dict[str, type[IfNode] | type[WithNode] | type[RangeNode]]] = {
    "if": IfNode,
    "with": WithNode,
    "range": RangeNode,
}
_STARTS_OPERAND: Final = frozenset(
    (
        *(Kind.WORD, Kind.DOT, Kind.VARIABLE, Kind.FIELD, Kind.LEFT),
        *(Kind.NUMBER, Kind.CHAR, Kind.STRING, Kind.RAW),
    )
)
_CONSTANT: Final = (DotNode, NilNode, LiteralNode)


def parse(source: str, functions: Container[str]) -> dict[str, ListNode]:
    """The trees of a template by name; the one that is executed is called "".

    Args:
        source: the template.
        functions: names that may be called.

    Raises:
        InvalidTemplate: with the line and column of what does not parse.
    """
    tokens = list(islice(tokenize(source), MAX_TOKENS + 1))
    if len(tokens) > MAX_TOKENS:
        raise fail(source, tokens[-1].position, f"template has more than {MAX_TOKENS} tokens")
    parser = _Parser(source, tokens, functions)
    parser.parse()
    return parser.trees


@dataclass(slots=True)
class _Parser:
    source: str
    tokens: list[Token]
    functions: Container[str]
    trees: dict[str, ListNode] = field(default_factory=dict)
    at: int = 0
    variables: list[str] = field(default_factory=lambda: ["$"])
    range_depth: int = 0
    depth: int = 0

    # --- tokens ---------------------------------------------------------------------------

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)  # END stays
        return token

    def skip_space(self) -> None:
        while self.tokens[self.at].kind is Kind.SPACE:
            self.at += 1

    def peek(self) -> Token:
        self.skip_space()
        return self.tokens[self.at]

    def expect(self, kind: Kind, context: str) -> Token:
        token = self.peek()
        if token.kind is not kind:
            raise self.unexpected(token, context)
        return self.next()

    def error(self, token: Token, message: str) -> InvalidTemplate:
        return fail(self.source, token.position, message)

    def unexpected(self, token: Token, context: str) -> InvalidTemplate:
        what = "EOF" if token.kind is Kind.END else f"<{token.text}>"
        return self.error(token, f"unexpected {what} in {context}")

    def enter(self, token: Token) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self.error(token, f"nested more than {MAX_NESTING} levels deep")

    # --- blocks ---------------------------------------------------------------------------

    def parse(self) -> None:
        """Fill `trees`."""
        root, stop = self.items(is_top=True)
        if stop.kind is not Kind.END:
            raise self.error(stop, f"unexpected {{{{{stop.text}}}}}")
        self.add("", root, stop)

    def add(self, name: str, tree: ListNode, token: Token) -> None:
        """Keep a tree; one that says something is never replaced (Go Tree.add)."""
        if name in self.trees and not _is_empty(self.trees[name]):
            if not _is_empty(tree):
                raise self.error(token, f"multiple definition of template {name!r}")
            return
        self.trees[name] = tree

    def items(self, *, is_top: bool = False) -> tuple[ListNode, Token]:
        """Nodes up to an `end` or `else`, which is consumed and given back, or to END."""
        start = self.tokens[self.at].position
        nodes: list[Node] = []
        while True:
            token = self.next()
            if token.kind is Kind.TEXT:
                nodes.append(TextNode(token.position, token.text))
                continue
            if token.kind is Kind.END:
                if not is_top:
                    raise self.error(token, "unexpected EOF")
                return ListNode(start, tuple(nodes)), token
            word = self.peek()
            if word.kind is Kind.KEYWORD and word.text in ("end", "else"):
                self.next()
                return ListNode(start, tuple(nodes)), word
            if word.kind is Kind.KEYWORD and word.text == "define":
                self.define(word, is_top=is_top)
                continue
            nodes.append(self.action(word))

    def action(self, word: Token) -> Node:
        """One action, the opening delimiter consumed."""
        if word.kind is not Kind.KEYWORD or word.text == "nil":
            pipe = self.pipeline("command", Kind.CLOSE)
            return ActionNode(word.position, pipe)
        self.next()
        match word.text:
            case "if" | "with" | "range":
                return self.branch(word)
            case "template":
                return self.template(word)
            case "block":
                return self.block(word)
            case _:
                return self.jump(word)

    def jump(self, word: Token) -> Node:
        self.expect(Kind.CLOSE, f"{{{{{word.text}}}}}")
        if not self.range_depth:
            raise self.error(word, f"{{{{{word.text}}}}} outside {{{{range}}}}")
        return (BreakNode if word.text == "break" else ContinueNode)(word.position)

    def branch(self, word: Token) -> Branch:
        """What follows `if`, `with` or `range`, with its `end`."""
        self.enter(word)
        mark = len(self.variables)
        pipe = self.pipeline(word.text, Kind.CLOSE)
        is_range = word.text == "range"
        self.range_depth += is_range
        body, stop = self.items()
        self.range_depth -= is_range
        otherwise = self.otherwise(word) if stop.text == "else" else None
        if otherwise is None:
            self.expect(Kind.CLOSE, "end")
        del self.variables[mark:]
        self.depth -= 1
        return _BRANCHES[word.text](word.position, pipe, body, otherwise)

    def otherwise(self, word: Token) -> ListNode:
        """What follows `else`, with the `end` of the whole."""
        chained = self.peek()
        is_keyword = chained.kind is Kind.KEYWORD
        if is_keyword and chained.text == word.text and word.text in ("if", "with"):
            self.next()
            return ListNode(chained.position, (self.branch(chained),))
        self.expect(Kind.CLOSE, "else")
        body, last = self.items()
        if last.text != "end":
            raise self.error(last, "expected end; found {{else}}")
        self.expect(Kind.CLOSE, "end")
        return body

    def define(self, word: Token, *, is_top: bool) -> None:
        if not is_top:
            raise self.error(word, "unexpected {{define}}")
        self.next()
        name = self.name("define clause")
        self.expect(Kind.CLOSE, "define clause")
        self.definition(name, word)

    def block(self, word: Token) -> Node:
        name = self.name("block clause")
        pipe = self.pipeline("block clause", Kind.CLOSE)
        self.definition(name, word)
        return TemplateNode(word.position, name, pipe)

    def definition(self, name: str, word: Token) -> None:
        """A body with variables of its own."""
        self.enter(word)
        variables, self.variables = self.variables, ["$"]
        range_depth, self.range_depth = self.range_depth, 0
        body, stop = self.items()
        if stop.text != "end":
            raise self.error(stop, "unexpected {{else}} in define clause")
        self.expect(Kind.CLOSE, "end")
        self.variables, self.range_depth = variables, range_depth
        self.depth -= 1
        self.add(name, body, word)

    def template(self, word: Token) -> Node:
        name = self.name("template clause")
        pipe = None
        if self.peek().kind is Kind.CLOSE:
            self.next()
        else:
            pipe = self.pipeline("template clause", Kind.CLOSE)
        return TemplateNode(word.position, name, pipe)

    def name(self, context: str) -> str:
        token = self.peek()
        if token.kind not in (Kind.STRING, Kind.RAW):
            raise self.unexpected(token, context)
        self.next()
        return self.text(token)

    # --- pipelines ------------------------------------------------------------------------

    def pipeline(self, context: str, end: Kind) -> PipeNode:
        """Declarations and commands up to `end`, which is consumed."""
        start = self.peek()
        is_assignment, declared = self.declarations(context)
        commands: list[CommandNode] = []
        while True:
            token = self.peek()
            if token.kind is end:
                self.next()
                break
            if token.kind not in _STARTS_OPERAND and token.text != "nil":
                raise self.unexpected(token, context)
            commands.append(self.command(token))
        if not commands:
            raise self.error(start, f"missing value for {context}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.args[0], _CONSTANT):
                raise self.error(start, f"non executable command in pipeline stage {stage}")
        return PipeNode(start.position, is_assignment, declared, tuple(commands))

    def declarations(self, context: str) -> tuple[bool, tuple[str, ...]]:
        """`$x :=`, `$x =` or, for range, `$i, $x :=`; nothing is consumed when it is none."""
        declared: list[str] = []
        while True:
            start = self.at
            variable = self.peek()
            if variable.kind is not Kind.VARIABLE:
                if declared:
                    raise self.error(variable, "range can only initialize variables")
                return False, ()
            self.next()
            operator = self.peek()
            if operator.kind not in (Kind.DECLARE, Kind.ASSIGN, Kind.COMMA):
                if declared:
                    raise self.unexpected(operator, context)
                self.at = start
                return False, ()
            self.next()
            declared.append(variable.text)
            self.variables.append(variable.text)
            if operator.kind is not Kind.COMMA:
                return operator.kind is Kind.ASSIGN, tuple(declared)
            if context != "range" or len(declared) > 1:
                raise self.error(operator, f"too many declarations in {context}")

    def command(self, start: Token) -> CommandNode:
        """Operands up to a `|`, which is consumed, or to what ends the pipeline."""
        args: list[Operand] = []
        while True:
            operand = self.operand()
            if operand is not None:
                args.append(operand)
            token = self.tokens[self.at]
            if token.kind is Kind.SPACE:
                self.next()
                continue
            if token.kind is Kind.PIPE:
                self.next()
            elif token.kind not in (Kind.CLOSE, Kind.RIGHT):
                raise self.unexpected(token, "operand")
            return CommandNode(start.position, tuple(args))

    def operand(self) -> Operand | None:
        """A term with the fields that follow it; None when no term starts here."""
        start = self.peek()
        term = self.term(start)
        fields: list[str] = []
        while term is not None and self.tokens[self.at].kind is Kind.FIELD:
            fields.append(self.next().text[1:])
        if not fields or term is None:
            return term
        if isinstance(term, FieldNode | VariableNode):
            return type(term)(term.position, (*term.path, *fields))
        if isinstance(term, _CONSTANT):
            raise self.error(start, f"unexpected . after term {start.text!r}")
        return ChainNode(term.position, term, tuple(fields))

    def term(self, token: Token) -> Operand | None:
        if token.kind not in _STARTS_OPERAND and token.text != "nil":
            return None
        self.next()
        match token.kind:
            case Kind.DOT:
                return DotNode(token.position)
            case Kind.KEYWORD:
                return NilNode(token.position)
            case Kind.FIELD:
                return FieldNode(token.position, (token.text[1:],))
            case Kind.VARIABLE:
                if token.text not in self.variables:
                    raise self.error(token, f'undefined variable "{token.text}"')
                return VariableNode(token.position, (token.text,))
            case Kind.LEFT:
                self.enter(token)
                pipe = self.pipeline("parenthesized pipeline", Kind.RIGHT)
                self.depth -= 1
                return pipe
            case Kind.WORD:
                return self.word(token)
            case _:
                return LiteralNode(token.position, self.literal(token))

    def word(self, token: Token) -> Operand:
        if token.text in ("true", "false"):
            return LiteralNode(token.position, token.text == "true")
        if token.text not in self.functions:
            raise self.error(token, f'function "{token.text}" not defined')
        return IdentifierNode(token.position, token.text)

    def literal(self, token: Token) -> str | int | float:
        try:
            if token.kind is Kind.NUMBER:
                return literals.number(token.text)
            if token.kind is Kind.CHAR:
                return literals.character(token.text)
            return literals.text(token.text)
        except ValueError as error:
            raise self.error(token, str(error)) from error

    def text(self, token: Token) -> str:
        return str(self.literal(token))


def _is_empty(tree: ListNode) -> bool:
    """Whether a template holds nothing but white space, as one with only definitions does."""
    return all(isinstance(node, TextNode) and not node.text.strip() for node in tree.nodes)
