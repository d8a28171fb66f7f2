from collections.abc import Generator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.types import Message
from ollama_jupyter.prompt.truncate import (
    IMAGE_TOKENS,
    Kept,
    Prompt,
    chat_prompt,
    fit,
    number_images,
)


def render(messages: Sequence[Message]) -> str:
    return " ".join(message.content for message in messages)


def count(text: str) -> int:
    return len(text.split())


def build(
    messages: Sequence[Message], *, num_ctx: int, truncate: bool = True, has_projector: bool = False
) -> tuple[Prompt, list[str]]:
    """The prompt and the texts that were counted on the way."""
    building = chat_prompt(
        render, messages, num_ctx=num_ctx, truncate=truncate, has_projector=has_projector
    )
    counted: list[str] = []
    try:
        text = next(building)
        while True:
            counted.append(text)
            text = building.send(count(text))
    except StopIteration as stop:
        prompt: Prompt = stop.value
        return prompt, counted


def user(content: str, *images: bytes) -> Message:
    return Message(role="user", content=content, images=images)


def system(content: str) -> Message:
    return Message(role="system", content=content)


def test_chat_prompt_counts_once_when_all_fits() -> None:
    prompt, counted = build([user("a"), user("b"), user("c")], num_ctx=3)
    assert prompt == Prompt(text="a b c", images=(), dropped=0)
    assert counted == ["a b c"]


@pytest.mark.parametrize(
    ("messages", "num_ctx", "text", "dropped"),
    [
        ([user("a b"), user("c"), user("d")], 2, "c d", 1),
        ([user("a b"), user("c"), user("d")], 1, "d", 2),
        ([user("a"), user("b c d")], 1, "b c d", 1),
        ([user("a b c")], 1, "a b c", 0),
        ([], 1, "", 0),
        ([system("s"), user("a"), user("b"), user("c")], 2, "s c", 2),
        ([user("a"), system("s"), user("b")], 2, "s b", 1),
        ([system("s t u"), user("a"), user("b")], 2, "s t u b", 1),
    ],
)
def test_chat_prompt_keeps_the_longest_tail_and_all_systems(
    messages: list[Message], num_ctx: int, text: str, dropped: int
) -> None:
    prompt, _ = build(messages, num_ctx=num_ctx)
    assert (prompt.text, prompt.dropped) == (text, dropped)


def test_chat_prompt_counts_nothing_when_it_must_not_truncate() -> None:
    prompt, counted = build([user("a"), user("b")], num_ctx=1, truncate=False)
    assert prompt.text == "a b"
    assert counted == []


def test_chat_prompt_counts_images_only_for_a_model_that_sees() -> None:
    messages = [user("a", b"1"), user("b", b"2")]
    seeing, _ = build(messages, num_ctx=IMAGE_TOKENS + 10, has_projector=True)
    assert seeing == Prompt(text="[img-0]b", images=(b"2",), dropped=1)
    blind, counted = build(messages, num_ctx=IMAGE_TOKENS + 10)
    assert blind == Prompt(text="[img-0]a [img-1]b", images=(b"1", b"2"), dropped=0)
    assert counted == ["a b"]


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (user("x", b"1", b"2"), "[img-0][img-1]x"),
        (user("x [img] y", b"1"), "x [img-0] y"),
        (user("[img] and [img]", b"1", b"2"), "[img-0] and [img-1]"),
        (user("x [img]", b"1", b"2"), "[img-1]x [img-0]"),
        (user("x [img]"), "x [img]"),
    ],
)
def test_number_images_places_tags(message: Message, content: str) -> None:
    (tagged,), images = number_images([message])
    assert tagged.content == content
    assert images == message.images


def test_number_images_counts_over_all_messages() -> None:
    tagged, images = number_images([user("a", b"1"), user("b"), user("c", b"2")])
    assert [message.content for message in tagged] == ["[img-0]a", "b", "[img-1]c"]
    assert images == (b"1", b"2")


# --- against leaving out one message at a time ----------------------------------------------


def _plain(messages: Sequence[Message], num_ctx: int) -> tuple[Message, ...]:
    kept: tuple[Message, ...] = tuple(messages)
    for start in range(len(messages)):
        systems = [message for message in messages[:start] if message.role == "system"]
        kept = (*systems, *messages[start:])
        if count(render(kept)) <= num_ctx:
            break
    return kept


def _drive(choosing: Generator[tuple[Message, ...], int, Kept]) -> tuple[Kept, int]:
    rounds = 0
    try:
        candidate = next(choosing)
        while True:
            rounds += 1
            candidate = choosing.send(count(render(candidate)))
    except StopIteration as stop:
        kept: Kept = stop.value
        return kept, rounds


@given(
    st.lists(
        st.builds(
            Message,
            role=st.sampled_from(["user", "system"]),
            content=st.sampled_from(["", "a", "a b c"]),
        ),
        max_size=40,
    ),
    st.integers(0, 60),
)
def test_fit_finds_what_dropping_one_by_one_finds(messages: list[Message], num_ctx: int) -> None:
    kept, rounds = _drive(fit(messages, num_ctx=num_ctx, has_projector=False))
    assert kept.messages == _plain(messages, num_ctx)
    assert kept.dropped == len(messages) - len(kept.messages)
    assert rounds <= 8
