"""A conversation keeps what was said, however a turn ends."""

import json
import threading

import pytest

from ollama_jupyter.api.types import Message
from ollama_jupyter.client.conversation import Conversation, Piece, Settings, read_piece
from ollama_jupyter.client.sync import Client
from ollama_jupyter.errors import ServerError, ServerUnreachable
from tests.fakes.contract_server import ContractServer


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages]


def test_send_gives_pieces_and_keeps_both_sides(client: Client) -> None:
    conversation = Conversation(client, "echo")
    pieces = list(conversation.send("one two"))
    assert [piece.content for piece in pieces] == ["one ", "two ", ""]
    assert pieces[-1].final is not None
    assert pieces[-1].final["eval_count"] == 5
    assert said(conversation) == [("user", "one two"), ("assistant", "one two ")]
    assert conversation.is_complete


def test_send_carries_all_turns_and_only_the_settings_made(
    server: ContractServer, client: Client
) -> None:
    conversation = Conversation(
        client,
        "echo",
        messages=[Message(role="system", content="be brief")],
        settings=Settings(options={"seed": 1}, think=False, keep_alive=0, format="json"),
    )
    list(conversation.send("one"))
    list(conversation.send("two", images=(b"abc",)))
    first, second = server.bodies("/api/chat")
    assert first == {
        "model": "echo",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
        ],
        "options": {"seed": 1},
        "think": False,
        "keep_alive": 0,
        "format": "json",
    }
    assert second["messages"][2:] == [
        {"role": "assistant", "content": "one "},
        {"role": "user", "content": "two", "images": ["YWJj"]},
    ]


def test_send_keeps_thinking_apart(client: Client) -> None:
    conversation = Conversation(client, "thinker")
    pieces = list(conversation.send("one"))
    assert [piece.thinking for piece in pieces] == ["hmm", "", ""]
    assert conversation.messages[-1] == Message(role="assistant", content="one ", thinking="hmm")


def test_send_keeps_tool_calls(client: Client) -> None:
    conversation = Conversation(client, "caller")
    calls = [call for piece in conversation.send("one") for call in piece.tool_calls]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("f", {"x": 1})]
    assert conversation.messages[-1].tool_calls == tuple(calls)


def test_closing_an_answer_keeps_what_came_and_stops_the_work(
    server: ContractServer, client: Client
) -> None:
    conversation = Conversation(client, "endless")
    pieces = conversation.send("go")
    next(pieces)
    next(pieces)
    pieces.close()
    assert said(conversation) == [("user", "go"), ("assistant", "on on ")]
    assert not conversation.is_complete
    server.wait_for(closed="/api/chat")


def test_interrupt_in_an_answer_keeps_what_came(server: ContractServer, client: Client) -> None:
    conversation = Conversation(client, "endless")
    pieces = conversation.send("go")
    next(pieces)
    with pytest.raises(KeyboardInterrupt):
        pieces.throw(KeyboardInterrupt())
    assert said(conversation) == [("user", "go"), ("assistant", "on ")]
    server.wait_for(closed="/api/chat")


def test_cancel_from_another_thread_ends_the_answer(server: ContractServer, client: Client) -> None:
    conversation = Conversation(client, "endless")
    pieces = conversation.send("go")
    next(pieces)
    threading.Thread(target=conversation.cancel).start()
    for _ in pieces:
        pass
    assert not conversation.is_complete
    assert conversation.messages[-1].content.startswith("on ")
    server.wait_for(closed="/api/chat")
    conversation.cancel()


@pytest.mark.parametrize(
    ("model", "error"),
    [("failing", ServerError), ("broken", ServerUnreachable), ("cut", ServerUnreachable)],
)
def test_answer_that_breaks_off_is_kept_as_far_as_it_came(
    client: Client, model: str, error: type[Exception]
) -> None:
    conversation = Conversation(client, model)
    with pytest.raises(error):
        list(conversation.send("one"))
    assert said(conversation) == [("user", "one"), ("assistant", "one ")]
    assert not conversation.is_complete


def test_question_stays_when_the_server_refuses(client: Client) -> None:
    conversation = Conversation(client, "nope")
    with pytest.raises(ServerError):
        list(conversation.send("one"))
    assert said(conversation) == [("user", "one")]


def test_reset_forgets_all_but_the_system_message(client: Client) -> None:
    conversation = Conversation(
        client, "echo", messages=[Message(role="system", content="be brief")]
    )
    list(conversation.send("one"))
    conversation.reset()
    assert said(conversation) == [("system", "be brief")]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"response": "a", "thinking": "b", "done": False}, Piece(content="a", thinking="b")),
        ({"message": {"content": "a"}, "done": False}, Piece(content="a")),
        (
            {"status": "loading", "completed": 3, "total": 9, "done": False},
            Piece(status="loading", completed=3, total=9),
        ),
        ({}, Piece()),
    ],
)
def test_read_piece_reads_chat_generate_and_progress(
    record: dict[str, object], expected: Piece
) -> None:
    assert read_piece(record) == expected


def test_read_piece_refuses_a_malformed_tool_call() -> None:
    with pytest.raises(ServerError, match="malformed tool call"):
        read_piece(json.loads('{"message": {"tool_calls": [{"function": 3}]}}'))
