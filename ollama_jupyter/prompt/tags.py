"""What a template shows of how its model writes: thinking, and what announces a tool call."""

from ollama_jupyter.prompt.gotemplate.nodes import (
    ActionNode,
    FieldNode,
    IfNode,
    ListNode,
    Node,
    PipeNode,
    RangeNode,
    TemplateNode,
    TextNode,
    WithNode,
)
from ollama_jupyter.prompt.gotemplate.template import Template, path_of, walk

# --- thinking -------------------------------------------------------------------------------


def infer_tags(template: Template) -> tuple[str, str]:
    """The tags a template writes around a message's thinking, each "" when it has none.

    They are the first and the last text of the list that prints `.Thinking`, inside the range over
    the messages. Later places win over earlier ones, each tag by itself.
    """
    tags = ["", ""]
    _search(template.root, tags, is_in_messages=False)
    return tags[0], tags[1]


def _search(around: ListNode, tags: list[str], *, is_in_messages: bool) -> None:
    """Look for `.Thinking` in document order.

    Args:
        around: where to look; its ends are the tags of what it holds itself.
        tags: found so far; changed in place.
        is_in_messages: whether the innermost range goes over the messages.
    """
    for node in around.nodes:
        is_inside = is_in_messages
        if isinstance(node, RangeNode):  # its own pipeline counts as inside it
            is_inside = _mentions(node.pipe, "Messages")
        if is_inside and _uses_thinking(node):
            for place, end in enumerate((around.nodes[0], around.nodes[-1])):
                if isinstance(end, TextNode):
                    tags[place] = end.text.strip()
        if isinstance(node, IfNode | WithNode | RangeNode):
            for branch in (node.body, node.otherwise):
                if branch is not None:
                    _search(branch, tags, is_in_messages=is_inside)


def _uses_thinking(node: Node) -> bool:
    """Whether a node's own pipeline has the field; a variable's field does not count."""
    if not isinstance(node, ActionNode | IfNode | WithNode | RangeNode | TemplateNode):
        return False
    return node.pipe is not None and any(
        isinstance(below, FieldNode) and "Thinking" in below.path for below in walk(node.pipe)
    )


def _mentions(pipe: PipeNode, name: str) -> bool:
    return any(name in path_of(below) for below in walk(pipe))


# --- tool calls -----------------------------------------------------------------------------


def call_tag(template: Template) -> str:
    """What a template writes before a message's tool calls; `{` when that is nothing."""
    for node in walk(template.root):
        if isinstance(node, IfNode) and _mentions(node.pipe, "ToolCalls"):
            text = _first_text(node.body)
            return (text or "").split("{", 1)[0].strip() or "{"
    return "{"


def _first_text(tree: ListNode) -> str | None:
    """The first text that is not blank, "" when something is printed before it."""
    for node in tree.nodes:
        if isinstance(node, TextNode):
            if node.text.strip():
                return node.text
        elif isinstance(node, IfNode | RangeNode | WithNode):
            return _first_text(node.body) or ""
        else:
            return ""
    return None
