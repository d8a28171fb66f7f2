"""One parser for all families that put thinking and calls between tags.

A family is a `Shape`: which tags there are and how the text between them is read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ollama_jupyter.api.types import Message, Think, Tool, ToolCall, ToolCallFunction
from ollama_jupyter.inference.output.families.kinds import FoundCall, Parsed, ReadCalls
from ollama_jupyter.inference.output.thinking import overlap


class Place(Enum):
    """Where thinking begins."""

    INSIDE = auto()  # the prompt has opened it; a model that opens it again is forgiven
    AT_START = auto()  # at the very beginning, or not at all
    ANYWHERE = auto()  # as often as its tag comes


class Default(Enum):
    """Whether a model thinks that was not told to."""

    OFF = auto()
    ON = auto()
    ALWAYS = auto()  # whatever it was told


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """The tags of thinking.

    Attributes:
        opening: the tag before it.
        closing: the tag behind it.
        place: where it begins.
        default: whether it is there when nobody asked.
        label: a text behind `opening` that is no thinking, if it is there.
        ends_at_call: whether the tag of a call closes it too.
    """

    opening: str = "<think>"
    closing: str = "</think>"
    place: Place = Place.INSIDE
    default: Default = Default.OFF
    label: str = ""
    ends_at_call: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Text that is not content.

    Attributes:
        opening: the tag before it.
        closing: the tag behind it.
        read: the calls in it.
        is_token: `opening` never arrives in parts; parts of it are content.
        is_greedy: the block ends at the last `closing` that has arrived, not at the first.
    """

    opening: str
    closing: str
    read: ReadCalls
    is_token: bool = False
    is_greedy: bool = False

    def split(self, text: str) -> tuple[str, str] | None:
        """The block's text and what comes behind it; None while its end is missing."""
        if self.closing not in text:
            return None
        body, _, rest = (
            text.rpartition(self.closing) if self.is_greedy else text.partition(self.closing)
        )
        return body, rest


def read_nothing(text: str, tools: Sequence[Tool]) -> Iterable[FoundCall]:
    """No calls: for blocks that are to be dropped."""
    del text, tools
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A family's tags.

    Attributes:
        thought: the tags of thinking; None when it does not think.
        blocks: calls, and what else is no content.
        marks: tags that are dropped, with nothing between them.
        keeps_space: whether white space around tags in content is content.
    """

    thought: Thought | None = None
    blocks: tuple[Block, ...] = ()
    marks: tuple[str, ...] = ()
    keeps_space: bool = False


class _State(Enum):
    LABEL = auto()  # a tag may come that changes what follows
    THINKING = auto()
    CONTENT = auto()


class TaggedParser:
    """Takes thinking and calls out of the text of one reply."""

    def __init__(self, shape: Shape) -> None:
        """Wait for `init`.

        Args:
            shape: the family's tags.
        """
        self._shape = shape
        self._thought = shape.thought
        self._blocks = {block.opening: block for block in shape.blocks}
        self._block: Block | None = None
        self._tools: Sequence[Tool] = ()
        self._state = _State.CONTENT
        self._label, self._without_label = "", _State.CONTENT
        self._is_silent = False
        self._skips_space = False
        self._held = ""
        self._content, self._thinking = "", ""
        self._calls: list[ToolCall] = []
        self._call_count = 0

    @property
    def has_tools(self) -> bool:
        """Whether it knows tool calls."""
        return any(block.read is not read_nothing for block in self._shape.blocks)

    @property
    def has_thinking(self) -> bool:
        """Whether it knows thinking."""
        return self._shape.thought is not None

    def init(
        self, tools: Sequence[Tool], last_message: Message | None, think: Think | None
    ) -> Sequence[Tool]:
        """Begin a reply; a continued one that has content already is past its thinking."""
        self._tools = tools
        thought = self._thought
        if thought is None:
            return tools
        if thought.place is Place.ANYWHERE:
            # Unasked-for thinking that is marked as such is no answer either.
            self._is_silent = think is False and thought.default is not Default.ALWAYS
        elif not _is_on(thought, think):
            self._thought = None
        elif not (last_message and last_message.role == "assistant" and last_message.content):
            is_inside = thought.place is Place.INSIDE
            self._expect(thought.opening, _State.THINKING if is_inside else _State.CONTENT)
        return tools

    def add(self, text: str, done: bool) -> Parsed:
        """What is certain, now that `text` has arrived too; all the rest when it is `done`."""
        self._held += text
        while self._step():
            pass
        if done:
            self._finish()
        parsed = self._content, self._thinking, self._calls
        self._content, self._thinking, self._calls = "", "", []
        return parsed

    # --- states -----------------------------------------------------------------------------

    def _expect(self, label: str, without_label: _State) -> None:
        """Drop `label` if it comes next and think; go to `without_label` if it does not."""
        self._state = _State.LABEL
        self._label, self._without_label = label, without_label

    def _step(self) -> bool:
        """Take something off what is held; whether another step may take more."""
        if self._skips_space:
            self._held = self._held.lstrip()
            self._skips_space = not self._held
        if self._state is _State.LABEL:
            return self._in_label()
        if self._block is not None:
            return self._in_block(self._block)
        return self._in_text()

    def _in_label(self) -> bool:
        start = self._held.lstrip()
        if start.startswith(self._label):
            self._held = start.removeprefix(self._label)
            self._state, self._skips_space = _State.THINKING, True
            return True
        if self._label.startswith(start):
            return False
        self._held, self._state = start, self._without_label
        return True

    def _in_block(self, block: Block) -> bool:
        parts = block.split(self._held)
        if parts is None:
            return False
        body, self._held = parts
        self._read(block, body)
        self._block = None
        self._to_content()
        return True

    def _in_text(self) -> bool:
        """Thinking or content, up to the next tag."""
        tags = self._tags()
        at, tag = min(
            ((at, tag) for tag in tags if (at := self._held.find(tag)) >= 0), default=(-1, "")
        )
        if tag:
            self._emit(self._before(at))
            self._held = self._held[at:]
            self._pass(tag)
            return True
        kept = max((overlap(self._held, tag) for tag in tags if self._may_be_cut(tag)), default=0)
        before = self._before(len(self._held) - kept)
        self._emit(before)
        self._held = self._held[len(before) :]
        return False

    def _tags(self) -> list[str]:
        """The tags that change something here."""
        thought = self._thought
        if self._state is _State.THINKING and thought is not None:
            return [thought.closing, *(self._blocks if thought.ends_at_call else ())]
        opens = thought is not None and thought.place is Place.ANYWHERE
        return [
            *self._blocks,
            *self._shape.marks,
            *([thought.opening] if thought and opens else ()),
        ]

    def _may_be_cut(self, tag: str) -> bool:
        return tag not in self._blocks or not self._blocks[tag].is_token

    def _before(self, end: int) -> str:
        """The text up to a tag, or to what may become one, without the space between."""
        text = self._held[:end]
        keeps = self._shape.keeps_space and self._state is _State.CONTENT
        return text if keeps else text.rstrip()

    def _pass(self, tag: str) -> None:
        """Go behind a tag that what is held starts with."""
        if self._state is _State.THINKING and tag in self._blocks:
            self._state = _State.CONTENT
            return
        self._held = self._held.removeprefix(tag)
        if self._state is _State.THINKING:
            self._state, self._skips_space = _State.CONTENT, True
        elif tag in self._blocks:
            self._block = self._blocks[tag]
        elif tag in self._shape.marks or self._thought is None:
            self._to_content()
        else:
            self._expect(self._thought.label, _State.THINKING)

    def _to_content(self) -> None:
        self._state, self._skips_space = _State.CONTENT, not self._shape.keeps_space

    # --- results ----------------------------------------------------------------------------

    def _emit(self, text: str) -> None:
        if self._state is not _State.THINKING:
            self._content += text
        elif not self._is_silent:
            self._thinking += text

    def _read(self, block: Block, body: str) -> None:
        """Add the calls of a block; what cannot be read as a call is dropped."""
        try:
            found = list(block.read(body, self._tools))
        except (ValueError, RecursionError):
            return
        for name, arguments in found:
            function = ToolCallFunction(index=self._call_count, name=name, arguments=arguments)
            self._calls.append(ToolCall(function=function))
            self._call_count += 1

    def _finish(self) -> None:
        """Let go of what is held, now that no more text comes."""
        held, self._held = self._held, ""
        if self._block is not None:
            self._read(self._block, held)
            return
        if self._state is _State.LABEL:
            self._state = self._without_label
        self._emit(held)


def _is_on(thought: Thought, think: Think | None) -> bool:
    if thought.default is Default.ALWAYS:
        return True
    return thought.default is Default.ON if think is None else bool(think)
