"""Fitting a conversation into the context, and numbering its images.

Nothing is counted here: the functions are generators that yield what must be counted and are sent
the number of tokens, so that whoever drives them decides how to ask a tokenizer.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ollama_jupyter.api.types import Message

IMAGE_TOKENS: Final = 768
"""What an image is taken to need of the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered conversation.

    Attributes:
        text: what the model continues, with `[img-n]` where image n belongs.
        images: the images by number.
        dropped: messages left out to make it fit.
    """

    text: str
    images: tuple[bytes, ...]
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The part of a conversation that fits; `dropped` counts the messages left out."""

    messages: tuple[Message, ...]
    dropped: int


def chat_prompt(
    render: Callable[[Sequence[Message]], str],
    messages: Sequence[Message],
    *,
    num_ctx: int,
    truncate: bool,
    has_projector: bool,
) -> Generator[str, int, Prompt]:
    """The prompt of a conversation; yields texts, wants the tokens of each, without special ones.

    Args:
        render: makes a text of messages.
        messages: the whole conversation.
        num_ctx: the context in tokens.
        truncate: whether to leave out messages that do not fit; otherwise nothing is counted.
        has_projector: whether the model sees images, so that they take up context.

    Raises:
        InvalidTemplate: by `render`.
    """
    kept = Kept(messages=tuple(messages), dropped=0)
    counted: tuple[Message, ...] | None = None
    text = ""
    if truncate:
        choosing = fit(messages, num_ctx=num_ctx, has_projector=has_projector)
        tokens: int | None = None
        try:
            while True:
                counted = next(choosing) if tokens is None else choosing.send(tokens)
                text = render(counted)
                tokens = yield text
        except StopIteration as stop:
            kept = stop.value
    numbered, images = number_images(kept.messages)
    if images or counted != kept.messages:
        text = render(numbered)
    return Prompt(text=text, images=images, dropped=kept.dropped)


def fit(
    messages: Sequence[Message], *, num_ctx: int, has_projector: bool
) -> Generator[tuple[Message, ...], int, Kept]:
    """The longest tail that fits, with all system messages before it.

    Yields conversations, wants the tokens of each when rendered. The last message is kept whatever
    its size. All is tried first; after that the search halves what is left, which finds the same
    tail as leaving out one message at a time when fewer messages never need more tokens.

    Args:
        messages: the whole conversation.
        num_ctx: the context in tokens.
        has_projector: whether an image takes `IMAGE_TOKENS`, or nothing.
    """
    low, high, start = 0, max(len(messages) - 1, 0), 0
    while low < high:
        tokens = yield _tail(messages, start)
        if has_projector:
            tokens += IMAGE_TOKENS * sum(len(message.images) for message in messages[start:])
        if tokens <= num_ctx:
            high = start
        else:
            low = start + 1
        start = (low + high) // 2
    tail = _tail(messages, low)
    return Kept(messages=tail, dropped=len(messages) - len(tail))


def _tail(messages: Sequence[Message], start: int) -> tuple[Message, ...]:
    systems = (message for message in messages[:start] if message.role == "system")
    return (*systems, *messages[start:])


def number_images(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[bytes, ...]]:
    """The messages with a tag for each image, and the images in the order of their numbers.

    A tag replaces the next `[img]` of its message's content; without one it is put in front.
    """
    images: list[bytes] = []
    tagged: list[Message] = []
    for message in messages:
        content, prefix = message.content, ""
        for image in message.images:
            tag = f"[img-{len(images)}]"
            images.append(image)
            if "[img]" in content:
                content = content.replace("[img]", tag, 1)
            else:
                prefix += tag
        if message.images:
            message = msgspec.structs.replace(message, content=prefix + content)
        tagged.append(message)
    return tuple(tagged), tuple(images)
