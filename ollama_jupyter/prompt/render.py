"""The prompt a Go template makes of messages: the three modes of the reference.

A template that mentions messages gets them all at once. An older one knows a system text, a prompt
and a response, and is run once a turn; its last run ends at the first `.Response`, where the model
goes on. Filling in the middle gives a template the text before and after the gap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ollama_jupyter.api.types import Message, Think, Tool
from ollama_jupyter.prompt.gotemplate import Budget, Template
from ollama_jupyter.prompt.gotemplate.kinds import Value
from ollama_jupyter.prompt.values import message_values, think_values, tool_values

_STEPS_PER_MESSAGE: Final = 200
_CHARACTERS_PER_CHARACTER: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages made ready for a template.

    Attributes:
        messages: neighbours of one role joined.
        system: the contents of all system messages, which stay in `messages` too.
    """

    messages: tuple[Message, ...]
    system: str


def collate(messages: Iterable[Message]) -> Conversation:
    """Join neighbours of one role by an empty line, tool results excepted.

    Only their contents are joined: images and calls of the later ones are lost, as they are in
    the reference.
    """
    joined: list[Message] = []
    systems: list[str] = []
    for message in messages:
        if message.role == "system":
            systems.append(message.content)
        if joined and message.role != "tool" and joined[-1].role == message.role:
            content = f"{joined[-1].content}\n\n{message.content}"
            joined[-1] = msgspec.structs.replace(joined[-1], content=content)
        else:
            joined.append(message)
    return Conversation(messages=tuple(joined), system="\n\n".join(systems))


def render_chat(
    template: Template,
    messages: Sequence[Message],
    *,
    tools: Sequence[Tool] = (),
    think: Think | None = None,
) -> str:
    """The prompt for a conversation, in messages mode or, for an older template, turn by turn.

    Raises:
        InvalidTemplate: the template fails on these messages.
    """
    conversation = collate(messages)
    if "messages" not in template.identifiers:
        return _render_turns(template, conversation.messages, think)
    values: dict[str, Value] = {
        "System": conversation.system,
        "Messages": message_values(conversation.messages),
        "Tools": tool_values(tools),
        "Response": "",
        **think_values(think),
    }
    return template.execute(values, budget=_budget(conversation.messages))


def render_generate(
    template: Template,
    messages: Sequence[Message],
    *,
    prompt: str = "",
    suffix: str = "",
    think: Think | None = None,
) -> str:
    """The prompt of a generate request: between `prompt` and `suffix` when both say something.

    Args:
        template: the template.
        messages: what is rendered, as a conversation, when there is no gap to fill.
        prompt: the text before the gap.
        suffix: the text behind it.
        think: what the request says about thinking.

    Raises:
        InvalidTemplate: the template fails on these values.
    """
    if not (prompt and suffix):
        return render_chat(template, messages, think=think)
    values = {"Prompt": prompt, "Suffix": suffix, "Response": "", **think_values(think)}
    return template.execute(values)


def _budget(messages: Sequence[Message]) -> Budget:
    """The usual one, and more for a long conversation."""
    size = sum(len(message.content) + len(message.thinking) for message in messages)
    budget = Budget()
    budget.steps += _STEPS_PER_MESSAGE * len(messages)
    budget.characters += _CHARACTERS_PER_CHARACTER * size
    return budget


def _render_turns(template: Template, messages: Sequence[Message], think: Think | None) -> str:
    """Legacy mode; other roles than system, user and assistant are left out."""
    turns = _Turns(template, think, _budget(messages))
    for message in messages:
        match message.role:
            case "system":
                if turns.prompt or turns.response:
                    turns.run()
                turns.system = message.content
            case "user":
                if turns.response:
                    turns.run()
                turns.prompt = message.content
            case "assistant":
                turns.response = message.content
    turns.template = template.cut_after_response()
    turns.run()
    return "".join(turns.texts)


class _Turns:
    """What legacy mode has of the current turn, and the text of those before it."""

    def __init__(self, template: Template, think: Think | None, budget: Budget) -> None:
        self.template = template
        self.think = think_values(think)
        self.budget = budget
        self.texts: list[str] = []
        self.system = self.prompt = self.response = ""

    def run(self) -> None:
        """Execute the template with the turn, and clear it."""
        values = {"System": self.system, "Prompt": self.prompt, "Response": self.response}
        self.texts.append(self.template.execute(values | self.think, budget=self.budget))
        self.system = self.prompt = self.response = ""
