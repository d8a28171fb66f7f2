"""What the `/` commands of a session do and say."""

from collections.abc import Callable

import pytest

from ollama_jupyter.api.types import Message
from ollama_jupyter.cli import session_help
from ollama_jupyter.cli.run import Flags, show_installed
from ollama_jupyter.cli.session import Session, is_recoverable
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Host
from ollama_jupyter.errors import ServerError
from tests.fakes.contract_server import ContractServer

Open = Callable[[str], Session]


@pytest.fixture
def open_session(server: ContractServer) -> Open:
    client = Client(Host.parse(server.url))

    def open_session(model: str) -> Session:
        shown = show_installed(client, model)
        return Session(client, model, shown, Flags(), keeps_history=True)

    return open_session


@pytest.fixture
def session(open_session: Open) -> Session:
    return open_session("echo")


def say(session: Session, text: str) -> None:
    for _ in session.conversation.send(text):
        pass


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'\n"),
        ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'\n"),
        (
            "/set parameter seed x",
            'Couldn\'t set parameter: "invalid int value [x]"\n',
        ),
        (
            "/set parameter bogus 1",
            "Couldn't set parameter: \"unknown parameter 'bogus'\"\n",
        ),
        ("/set parameter seed", session_help.PARAMETERS),
        ("/set system be brief", "Set system message.\n"),
        ("/set history", ""),
        ("/set nohistory", ""),
        ("/set wordwrap", "Set 'wordwrap' mode.\n"),
        ("/set nowordwrap", "Set 'nowordwrap' mode.\n"),
        ("/set verbose", "Set 'verbose' mode.\n"),
        ("/set quiet", "Set 'quiet' mode.\n"),
        ("/set format json", "Set format to 'json' mode.\n"),
        (
            "/set format xml",
            "Invalid or missing format. For 'json' mode use '/set format json'\n",
        ),
        ("/set noformat", "Disabled format.\n"),
        (
            "/set think",
            "Set 'think' mode.\nwarning: model \"echo\" does not support thinking output\n",
        ),
        ("/set", session_help.SET),
        ("/set bogus", "Unknown command '/set bogus'. Type /? for help\n"),
        ("/show", session_help.SHOW),
        ("/show bogus", "Unknown command '/show bogus'. Type /? for help\n"),
        ("/show template", "{{ .Prompt }}\n"),
        ("/show system", "No system message was specified for this model.\n"),
        ("/show license", "one\n\ntwo\nthree\n"),
        ("/load", "Usage:\n  /load <modelname>\n"),
        ("/load nope", "Couldn't find model 'nope'\n"),
        ("/save", "Usage:\n  /save <modelname>\n"),
        ("/save a/b/c/d", "error: The model name 'a/b/c/d' is invalid\n"),
        ("/clear", "Cleared session context\n"),
        ("/?", session_help.OVERVIEW),
        ("/help", session_help.OVERVIEW),
        ("/? set", session_help.SET),
        ("/help show", session_help.SHOW),
        ("/? shortcuts", session_help.SHORTCUTS),
        ("/bogus thing", "Unknown command '/bogus'. Type /? for help\n"),
    ],
)
def test_command_prints(session: Session, line: str, printed: str) -> None:
    assert session.command(line) == printed


def test_set_changes_what_goes_with_the_next_turn(session: Session, server: ContractServer) -> None:
    for line in (
        "/set parameter seed 7",
        "/set parameter stop x y",
        "/set format json",
        "/set nothink",
        "/set system be brief",
    ):
        session.command(line)
    say(session, "hi")
    assert server.wait_for(path="/api/chat")["body"] == {
        "model": "echo",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
        ],
        "options": {"seed": 7, "stop": ["x", "y"]},
        "format": "json",
        "think": False,
    }
    session.command("/set noformat")
    say(session, "again")
    assert "format" not in server.wait_for(path="/api/chat")["body"]


def test_set_think_takes_a_level_a_model_that_thinks_knows(open_session: Open) -> None:
    session = open_session("thinker")
    settings = session.conversation.settings
    seen = [settings.think]
    assert session.command("/set think high") == "Set 'think' mode to 'high'.\n"
    seen.append(settings.think)
    assert "invalid think value" in session.command("/set think very")
    assert session.command("/set nothink") == "Set 'nothink' mode.\n"
    assert [*seen, settings.think] == [True, "high", False]


def test_set_system_replaces_one_just_set_and_follows_what_was_said(session: Session) -> None:
    session.command("/set system one")
    session.command("/set system two")
    say(session, "hi")
    session.command("/set system three")
    assert [(m.role, m.content) for m in session.conversation.messages] == [
        ("system", "two"),
        ("user", "hi"),
        ("assistant", "hi "),
        ("system", "three"),
    ]
    assert session.command("/show system") == "three\n"


def test_set_changes_how_answers_are_shown(session: Session) -> None:
    session.command("/set verbose")
    session.command("/set nowordwrap")
    session.command("/set nohistory")
    assert session.display.flags.is_verbose
    assert not session.display.flags.is_wrapped
    assert not session.display.keeps_history
    session.command("/set quiet")
    session.command("/set wordwrap")
    session.command("/set history")
    assert session.display.flags == Flags()
    assert session.display.keeps_history


def test_show_parameters_lists_the_models_and_the_sessions(session: Session) -> None:
    session.command("/set parameter stop a b")
    session.command("/set parameter seed 7")
    assert session.command("/show parameters").splitlines() == [
        "Model defined parameters:",
        '  stop                           "<|im_end|>"',
        "  temperature    0.5",
        "",
        "User defined parameters:",
        f"  {'seed':<30} 7",
        f"  {'stop':<30} a b",
        "",
    ]


def test_show_info_is_the_overview(session: Session) -> None:
    assert session.command("/show info").startswith("  Model\n    architecture")


def test_clear_keeps_the_system_message(session: Session) -> None:
    session.command("/set system be brief")
    say(session, "hi")
    session.command("/clear")
    assert [(m.role, m.content) for m in session.conversation.messages] == [("system", "be brief")]


def test_load_goes_on_with_another_model_and_forgets(session: Session) -> None:
    session.command("/set parameter seed 7")
    session.command("/set system be brief")
    say(session, "hi")
    assert session.command("/load thinker") == "Loading model 'thinker'\n"
    assert session.conversation.model == "thinker"
    assert session.conversation.messages == []
    assert session.conversation.settings.options == {"seed": 7}
    assert session.conversation.settings.think is True
    session.command("/load nope")
    assert session.conversation.model == "thinker"


def test_save_makes_a_model_of_the_session(session: Session, server: ContractServer) -> None:
    session.command("/set parameter seed 7")
    session.command("/set system be brief")
    say(session, "hi")
    assert session.command("/save mine") == "Created new model 'mine'\n"
    assert server.wait_for(path="/api/create")["body"] == {
        "model": "mine",
        "from": "echo",
        "system": "be brief",
        "parameters": {"seed": 7},
        "messages": [
            {"role": "user", "content": "stored question"},
            {"role": "assistant", "content": "stored answer"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hi "},
        ],
    }
    assert "mine:latest" in session.command("/list")


def test_list_takes_a_prefix(session: Session) -> None:
    assert len(session.command("/list echo").splitlines()) == 2


def test_stored_messages_are_those_of_the_model(session: Session) -> None:
    assert session.stored_messages == [
        ("user", "stored question"),
        ("assistant", "stored answer"),
    ]
    assert session.conversation.messages == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [('"m" does not support thinking', True), ("invalid think value: x", True), ("other", False)],
)
def test_is_recoverable_knows_errors_about_a_setting(text: str, expected: bool) -> None:
    assert is_recoverable(ServerError(text, http_status=400)) is expected


def test_failed_turn_leaves_the_question(session: Session) -> None:
    session.conversation.model = "nope"
    with pytest.raises(ServerError):
        say(session, "hi")
    assert session.conversation.messages == [Message(role="user", content="hi")]
