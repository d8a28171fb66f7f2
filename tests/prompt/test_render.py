from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.api.types import Message, Tool, ToolFunction
from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.render import collate, render_chat, render_generate

SHARED = Path(__file__).parents[2].parent / "shared" / "contract" / "fixtures" / "template"
SYSTEM = Message(role="system", content="You are a helpful assistant.")
HELLO = Message(role="user", content="Hello, how are you?")
FINE = Message(role="assistant", content="I'm doing great. How can I help you today?")
SHOW = Message(role="user", content="I'd like to show off how chat templating works!")
CONVERSATIONS = {
    "user": (HELLO,),
    "user-assistant-user": (HELLO, FINE, SHOW),
    "system-user-assistant-user": (SYSTEM, HELLO, FINE, SHOW),
}
TRAILING_SPACE = ("chatqa", "llama2-chat", "mistral-instruct", "openchat", "vicuna")
LEGACY = Template.parse(
    "{{ if .System }}<S>{{ .System }}{{ end }}{{ if .Prompt }}<U>{{ .Prompt }}{{ end }}"
    "<A>{{ .Response }}<E>"
)


def say(*turns: str) -> list[Message]:
    """Messages from texts such as "u:hello"."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [Message(role=roles[turn[0]], content=turn[2:]) for turn in turns]


# --- the reference's own templates ----------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the templates are not at hand")
@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_render_chat_renders_published_templates(conversation: str) -> None:
    files = sorted(SHARED.glob("*.gotmpl"))
    assert files
    for file in files:
        template = Template.parse(file.read_text("utf-8"))
        prompt = render_chat(template, CONVERSATIONS[conversation])
        if file.stem in TRAILING_SPACE:
            prompt = prompt.removesuffix(" ")
        expected = (SHARED / "testdata" / file.name / conversation).read_text("utf-8")
        assert prompt == expected, file.name


# --- collate --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "joined", "system"),
    [
        ((), (), ""),
        (("u:a", "u:b"), ("u:a\n\nb",), ""),
        (("t:a", "t:b", "u:c"), ("t:a", "t:b", "u:c"), ""),
        (("s:x", "s:y", "u:a", "s:z"), ("s:x\n\ny", "u:a", "s:z"), "x\n\ny\n\nz"),
        (("a:", "a:b"), ("a:\n\nb",), ""),
    ],
)
def test_collate_joins_neighbours(
    turns: tuple[str, ...], joined: tuple[str, ...], system: str
) -> None:
    conversation = collate(say(*turns))
    assert list(conversation.messages) == say(*joined)
    assert conversation.system == system


def test_collate_keeps_the_images_of_the_first_only() -> None:
    first = Message(role="user", content="a", images=(b"1",))
    second = Message(role="user", content="b", images=(b"2",))
    (message,) = collate([first, second]).messages
    assert message.images == (b"1",)


# --- legacy mode ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "prompt"),
    [
        ((), "<A>"),
        (("u:p",), "<U>p<A>"),
        (("u:p", "a:r"), "<U>p<A>r"),
        (("u:p", "a:r", "u:q"), "<U>p<A>r<E><U>q<A>"),
        (("s:x", "u:p"), "<S>x<U>p<A>"),
        (("u:p", "s:x", "u:q"), "<U>p<A><E><S>x<U>q<A>"),
        (("a:r", "s:x", "u:q"), "<A>r<E><S>x<U>q<A>"),
        (("s:x", "u:p", "t:ignored", "u:q"), "<S>x<U>q<A>"),
    ],
)
def test_render_chat_runs_an_older_template_once_a_turn(
    turns: tuple[str, ...], prompt: str
) -> None:
    assert render_chat(LEGACY, say(*turns)) == prompt


def test_render_chat_tells_an_older_template_about_thinking() -> None:
    template = Template.parse("{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }} {{ .Response }}")
    assert render_chat(template, (), think="low") == "true low true "


def test_render_chat_fails_when_an_older_template_uses_added_functions() -> None:
    with pytest.raises(InvalidTemplate, match='"json" is not a defined function'):
        render_chat(Template.parse("{{ json .Prompt }}{{ .Response }}"), say("u:a"))


# --- messages mode --------------------------------------------------------------------------


def test_render_chat_gives_a_newer_template_everything_at_once() -> None:
    template = Template.parse(
        "{{ .System }}|{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}|"
        "{{ range .Tools }}{{ .Function.Name }}{{ end }}|{{ .Response }}|{{ .Think }}|{{ .Prompt }}"
    )
    prompt = render_chat(
        template, say("s:x", "u:a"), tools=[Tool(function=ToolFunction(name="f"))], think=True
    )
    assert prompt == "x|system:x;user:a;|f||true|<no value>"


def test_render_chat_allows_more_steps_for_more_messages() -> None:
    template = Template.parse(
        "{{ range $i, $m := .Messages }}{{ if eq (len (slice $.Messages $i)) 1 }}!{{ end }}"
        + '{{ if eq .Role "none" }}{{ end }}' * 20
        + "{{ end }}"
    )
    messages = say("u:a", "a:b") * 3000
    assert render_chat(template, messages) == "!"


def test_render_chat_allows_text_as_long_as_the_conversation() -> None:
    content = "x" * (12 << 20)
    template = Template.parse('{{ range .Messages }}{{ printf "%s" .Content }}{{ end }}')
    assert render_chat(template, [Message(role="user", content=content)]) == content


# --- generate -------------------------------------------------------------------------------


def test_render_generate_fills_a_gap_when_there_is_text_on_both_sides() -> None:
    template = Template.parse(
        "{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ .Response }}{{ .ThinkLevel }}"
        "{{ else }}{{ range .Messages }}{{ .Content }}{{ end }}{{ end }}"
    )
    messages = say("u:hi")
    filled = render_generate(template, messages, prompt="a", suffix="b", think="low")
    assert filled == "<P>a<S>b<M>low"
    assert render_generate(template, messages, prompt="a") == "hi"
    assert render_generate(template, messages, suffix="b") == "hi"


@given(st.lists(st.sampled_from(["s:1", "u:2", "a:3", "t:4"]), max_size=8))
def test_render_chat_ends_an_older_template_where_the_model_goes_on(turns: list[str]) -> None:
    prompt = render_chat(LEGACY, say(*turns))
    _, begun = prompt.rsplit("<A>", 1)
    assert begun.replace("\n\n", "").strip("3") == ""
    assert bool(begun) == ("a:3" in turns and turns[::-1].index("a:3") < _last(turns))


def _last(turns: list[str]) -> int:
    """How far from the end the last turn is that makes an earlier answer complete."""
    ends = ("s:1", "u:2")
    return next((at for at, turn in enumerate(turns[::-1]) if turn in ends), len(turns))
