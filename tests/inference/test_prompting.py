"""From messages to the text a model continues."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ollama_jupyter.api.types import Message, Tool, ToolCall, ToolCallFunction, ToolFunction
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.inference.prompting import (
    Conversation,
    build_prompt,
    new_output,
    parsed_template,
    thinking_tags,
)
from ollama_jupyter.prompt.render import render_chat
from tests.fakes.rooms import THINKING_TEMPLATE, TOOL_TEMPLATE, FakeRunner, fake_model

JINJA_THINKS = "{{ messages }}<think></think>"
JINJA_CALLS = "{{ messages }}{{ tools }}<tool_call>"
WEATHER = Tool(type="function", function=ToolFunction(name="weather"))


def _users(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(role="user", content=text) for text in texts)


async def test_a_short_conversation_is_not_counted() -> None:
    runner = FakeRunner()
    conversation = Conversation(messages=_users("a", "b"), num_ctx=4096)
    prompt = await build_prompt(fake_model(), runner, conversation)  # type: ignore[arg-type]  # a stand-in
    assert prompt.text == "<user>a\n\nb<assistant>"
    assert (prompt.dropped, runner.tokenized) == (0, [])


@pytest.mark.parametrize("chat_template", ["", "{{ messages }}"])
async def test_a_built_in_renderer_goes_before_both_templates(chat_template: str) -> None:
    runner = FakeRunner()
    config = ModelConfig(renderer="qwen3-coder")
    model = replace(fake_model(chat_template=chat_template), config=config)
    conversation = Conversation(messages=_users("Hello"), num_ctx=4096)
    prompt = await build_prompt(model, runner, conversation)  # type: ignore[arg-type]  # a stand-in
    assert prompt.text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


async def test_a_renderer_nobody_built_leaves_it_to_the_template() -> None:
    runner = FakeRunner()
    model = replace(fake_model(), config=ModelConfig(renderer="of-tomorrow"))
    conversation = Conversation(messages=_users("a"), num_ctx=4096)
    prompt = await build_prompt(model, runner, conversation)  # type: ignore[arg-type]  # a stand-in
    assert prompt.text == "<user>a<assistant>"


@pytest.mark.parametrize("chat_template", ["", "{{ messages }}"])
async def test_old_messages_go_first_and_the_last_one_stays(chat_template: str) -> None:
    runner = FakeRunner()
    turns: list[Message] = [Message(role="system", content="keep")]
    for number in range(8):
        turns.append(Message(role="user", content=f"question{number} " * 10))
        turns.append(Message(role="assistant", content=f"answer{number} " * 10))
    turns.append(Message(role="user", content="last"))
    conversation = Conversation(messages=tuple(turns), num_ctx=50)
    model = fake_model(chat_template=chat_template)
    prompt = await build_prompt(model, runner, conversation)  # type: ignore[arg-type]  # a stand-in
    assert "keep" in prompt.text
    assert "last" in prompt.text
    assert "question0" not in prompt.text
    assert prompt.dropped > 0
    assert len(prompt.text.split()) <= 50
    assert len(runner.tokenized) <= 6


@pytest.mark.parametrize("chat_template", ["", "{{ messages }}"])
async def test_nothing_is_dropped_when_truncation_is_off(chat_template: str) -> None:
    runner = FakeRunner()
    conversation = Conversation(messages=_users("word " * 99, "b"), num_ctx=10, truncate=False)
    model = fake_model(chat_template=chat_template)
    prompt = await build_prompt(model, runner, conversation)  # type: ignore[arg-type]  # a stand-in
    assert prompt.dropped == 0
    assert not runner.tokenized


async def test_a_long_conversation_is_rendered_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = set()

    def note(*arguments: object, **named: object) -> str:
        threads.add(threading.get_ident())
        return render_chat(*arguments, **named)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr("ollama_jupyter.inference.prompting.render_chat", note)
    conversation = Conversation(messages=_users("x" * 100_000), num_ctx=1 << 20)
    prompt = await build_prompt(fake_model(), FakeRunner(), conversation)  # type: ignore[arg-type]  # a stand-in
    assert len(prompt.text) > 100_000
    assert threads
    assert threading.get_ident() not in threads


async def test_a_failing_template_is_the_caller_s_error() -> None:
    model = fake_model(template="{{ range .Messages }}{{ .Nonsense }}{{ end }}")
    conversation = Conversation(messages=_users("a"), num_ctx=100)
    with pytest.raises(InvalidTemplate):
        await build_prompt(model, FakeRunner(), conversation)  # type: ignore[arg-type]  # a stand-in


async def test_the_runner_gets_calls_and_tools_in_the_form_jinja_expects() -> None:
    runner = FakeRunner()
    function = ToolCallFunction(name="weather", arguments={"city": "Oslo"})
    messages: Sequence[Message] = (
        Message(role="user", content="?"),
        Message(role="assistant", tool_calls=(ToolCall(id="call_1", function=function),)),
        Message(role="tool", content="cold", tool_name="weather", tool_call_id="call_1"),
    )
    conversation = Conversation(
        messages=tuple(messages), tools=(WEATHER,), think="high", num_ctx=4096
    )
    model = fake_model(chat_template=JINJA_CALLS)
    await build_prompt(model, runner, conversation)  # type: ignore[arg-type]  # a stand-in
    (asked,) = {id(request): request for request in runner.templates}.values()
    assert asked.messages[1]["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "Oslo"}},
        }
    ]
    assert asked.messages[2]["name"] == "weather"
    assert asked.messages[2]["tool_call_id"] == "call_1"
    assert asked.tools is not None
    assert asked.tools[0]["function"]["name"] == "weather"
    assert asked.enable_thinking is True


@pytest.mark.parametrize(
    ("template", "chat_template", "tags"),
    [
        (THINKING_TEMPLATE, "", ("<think>", "</think>")),
        ("{{ .Prompt }}", "", ("", "")),
        ("", "", ("", "")),
        ("", JINJA_THINKS, ("<think>", "</think>")),
        (THINKING_TEMPLATE, "{{ messages }}", ("", "")),
    ],
)
def test_thinking_tags_come_from_the_template_in_use(
    template: str, chat_template: str, tags: tuple[str, str]
) -> None:
    assert thinking_tags(fake_model(template=template, chat_template=chat_template)) == tags


def test_output_starts_inside_thinking_that_the_prompt_opened() -> None:
    model = fake_model(chat_template=JINJA_THINKS)
    output = new_output(model, prompt="…<think>\n", think=True)
    assert output.feed("hm</think>yes").thinking == "hm"


@pytest.mark.parametrize("think", [None, False])
def test_output_leaves_thinking_alone_when_it_is_off(think: bool | None) -> None:
    output = new_output(fake_model(chat_template=JINJA_THINKS), prompt="", think=think)
    assert output.feed("<think>x</think>").content == "<think>x</think>"


@pytest.mark.parametrize(
    ("template", "chat_template"), [(TOOL_TEMPLATE, ""), ("", JINJA_CALLS), ("", "{{ tools }}")]
)
def test_output_finds_tool_calls_by_the_template_in_use(template: str, chat_template: str) -> None:
    model = fake_model(template=template, chat_template=chat_template)
    output = new_output(model, prompt="", think=None, tools=(WEATHER,))
    mark = "" if chat_template == "{{ tools }}" else "<tool_call>"
    (call,) = output.feed(mark + '{"name": "weather", "arguments": {"a": 1}}').tool_calls
    assert call.function.arguments == {"a": 1}


def test_templates_are_parsed_once() -> None:
    assert parsed_template("{{ .Prompt }}!") is parsed_template("{{ .Prompt }}!")
    assert parsed_template("") is parsed_template("")
