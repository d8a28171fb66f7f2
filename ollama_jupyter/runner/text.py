"""From the bytes of tokens to text a reader may see.

Two things hold text back: a character whose bytes are split over tokens, and a text that may turn
out to be the start of a stop string. What was handed out is never taken back, so a stop string
leaks no prefix, and the texts handed out are the same however the bytes were split.

The stop strings are one automaton (Aho and Corasick): a step a character, whatever their number,
and its depth is the length of the longest prefix that must be held back.
"""

import codecs
from collections.abc import Iterable


class StopStrings:
    """An automaton over stop strings; empty ones are ignored.

    A state is a number; 0 is the start. It is shared by nothing and changed by nobody, so one
    automaton serves any number of streams.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._fail = [0]
        self._depth = [0]
        self._match = [0]
        for stop in stops:
            self._insert(stop)
        self._link()

    def _insert(self, stop: str) -> None:
        state = 0
        for character in stop:
            following = self._next[state].get(character)
            if following is None:
                following = len(self._next)
                self._next[state][character] = following
                self._next.append({})
                self._fail.append(0)
                self._depth.append(self._depth[state] + 1)
                self._match.append(0)
            state = following
        self._match[state] = len(stop)

    def _link(self) -> None:
        """Point each state at the longest proper suffix that is a state too, breadth first."""
        order = list(self._next[0].values())
        for state in order:
            for character, child in self._next[state].items():
                self._fail[child] = self.step(self._fail[state], character)
                order.append(child)
            # The longest match wins: it starts first.
            self._match[state] = self._match[state] or self._match[self._fail[state]]

    def step(self, state: int, character: str) -> int:
        """The state after one more character."""
        while character not in self._next[state]:
            if state == 0:
                return 0
            state = self._fail[state]
        return self._next[state][character]

    def held(self, state: int) -> int:
        """Characters at the end of the text that may be the start of a stop string."""
        return self._depth[state]

    def matched(self, state: int) -> int:
        """Length of the stop string that ends here; 0 when none does."""
        return self._match[state]

    def __bool__(self) -> bool:
        return len(self._next) > 1


class TextStream:
    """The text of one answer, fed token by token.

    Attributes:
        is_stopped: whether a stop string was found; nothing more comes out then.
    """

    def __init__(self, stops: StopStrings) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = stops
        self._state = 0
        self._held = ""
        self.is_stopped = False

    def feed(self, data: bytes) -> str:
        """Text that became certain with the bytes of one more token."""
        if self.is_stopped:
            return ""
        text = self._decoder.decode(data)
        if not self._stops or not text:
            return text
        return self._without_stops(text)

    def finish(self) -> str:
        """Text held back so far, once no more tokens come; an unfinished character is left out."""
        rest = "" if self.is_stopped else self._held
        self._held = ""
        return rest

    def _without_stops(self, text: str) -> str:
        known = len(self._held)
        whole = self._held + text
        state = self._state
        for index, character in enumerate(text, start=known + 1):
            state = self._stops.step(state, character)
            length = self._stops.matched(state)
            if length:
                self.is_stopped = True
                self._held = ""
                return whole[: index - length]
        self._state = state
        certain = len(whole) - self._stops.held(state)
        self._held = whole[certain:]
        return whole[:certain]
