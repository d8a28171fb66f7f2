"""Thinking and answer told apart while the text arrives."""

from enum import Enum, auto

from ollama_jupyter.prompt.tags import infer_tags

__all__ = ["ThinkingParser", "infer_tags", "overlap"]


class _State(Enum):
    BEFORE = auto()
    THINKING_STARTS = auto()
    THINKING = auto()
    CONTENT_STARTS = auto()
    CONTENT = auto()


class ThinkingParser:
    """Splits a text whose beginning may be thinking between two tags.

    Only white space may come before the opening tag; anything else makes the whole text content.
    White space behind either tag is dropped. Tags that come later are content.
    """

    def __init__(self, opening: str, closing: str) -> None:
        """Wait for `opening`.

        Args:
            opening: the tag that thinking starts with.
            closing: the tag it ends with.
        """
        self.opening = opening
        self.closing = closing
        self._state = _State.BEFORE
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """The thinking and the content that are certain, now that `text` has arrived too."""
        self._held += text
        thinking, content = "", ""
        is_going_on = True
        while is_going_on:
            new_thinking, new_content, is_going_on = self._step()
            thinking += new_thinking
            content += new_content
        return thinking, content

    def finish(self) -> tuple[str, str]:
        """What was held back at the end of the text: the beginning of a tag that never came.

        The reference loses it; a caller that wants to do the same leaves this out.
        """
        held, self._held = self._held, ""
        if self._state is _State.THINKING:
            return held, ""
        return ("", held) if self._state is _State.BEFORE else ("", "")

    def _step(self) -> tuple[str, str, bool]:
        """Thinking, content, and whether another step may find more."""
        match self._state:
            case _State.BEFORE:
                return self._before()
            case _State.THINKING:
                return self._thinking()
            case _State.CONTENT:
                held, self._held = self._held, ""
                return "", held, False
            case _:
                self._held = self._held.lstrip()
                if self._held:
                    is_thinking = self._state is _State.THINKING_STARTS
                    self._state = _State.THINKING if is_thinking else _State.CONTENT
                return "", "", bool(self._held)

    def _before(self) -> tuple[str, str, bool]:
        start = self._held.lstrip()
        if start.startswith(self.opening):
            self._held = start[len(self.opening) :]
            self._state = _State.THINKING_STARTS
            return "", "", True
        if not self.opening.startswith(start):
            self._state = _State.CONTENT
            return "", "", True
        return "", "", False

    def _thinking(self) -> tuple[str, str, bool]:
        before, tag, after = self._held.partition(self.closing)
        if tag:
            self._held = after
            self._state = _State.CONTENT_STARTS
            return before, "", True
        kept = overlap(self._held, self.closing)
        end = len(self._held) - kept
        thinking, self._held = self._held[:end], self._held[end:]
        return thinking, "", False


def overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` are the beginning of `tag`, but not all of it."""
    longest = min(len(text), len(tag) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)
