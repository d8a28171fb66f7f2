"""The prompt with keys pressed, against a server in another process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from ollama_jupyter.cli.repl import Lines, hold_session
from ollama_jupyter.cli.run import Flags, show_installed
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Config, Host
from ollama_jupyter.errors import ServerError
from tests.fakes.contract_server import ContractServer

Talk = Callable[..., str]


# --- lines in quotes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["hello"], "hello"),
        (["  /bye  "], "/bye"),
        (['"""one line"""'], "one line"),
        (['"""a', "  b", 'c"""'], "a\n  b\nc"),
        (['"""', "a", '"""'], "\na\n"),
        (['/set system """a', 'b"""'], "/set system a\nb"),
        (['/set system """a b"""'], "/set system a b"),
        (["/set system plain"], "/set system plain"),
        (['say """x""" twice'], 'say """x""" twice'),
    ],
)
def test_lines_join_what_stands_in_quotes(lines: list[str], expected: str) -> None:
    reader = Lines()
    *before, last = lines
    for line in before:
        assert reader.feed(line) is None
        assert reader.is_open
    assert reader.feed(last) == expected
    assert not reader.is_open


def test_lines_forget_what_is_dropped() -> None:
    reader = Lines()
    assert reader.feed('"""begun') is None
    reader.drop()
    assert reader.feed("fresh") == "fresh"


# --- the prompt -----------------------------------------------------------------------------


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


@pytest.fixture
def errors() -> list[str]:
    """What `talk` left on standard error."""
    return []


@pytest.fixture
def talk(
    server: ContractServer,
    home: Path,
    keys: PipeInput,
    capsys: pytest.CaptureFixture[str],
    errors: list[str],
) -> Talk:
    """Hold a session in which these keys are pressed, and give back what was printed."""

    def talk(typed: str, *, model: str = "echo", flags: Flags | None = None) -> str:
        client = Client(Host.parse(server.url))
        keys.send_text(typed)
        config = Config.from_environment(os.environ)
        shown = show_installed(client, model)
        hold_session(client, model, shown, flags if flags is not None else Flags(), config)
        printed = capsys.readouterr()
        errors.append(printed.err)
        return printed.out

    return talk


STORED = ">>> stored question\nstored answer\n\n"


def test_session_loads_shows_what_is_stored_and_answers(talk: Talk, server: ContractServer) -> None:
    assert talk("one two\r/bye\r", flags=Flags(keep_alive="1m")) == f"{STORED}one two \n\n"
    load = server.wait_for(path="/api/generate")["body"]
    assert load == {"model": "echo", "stream": False, "keep_alive": "1m"}
    assert server.wait_for(path="/api/chat")["body"]["messages"] == [
        {"role": "user", "content": "one two"}
    ]


def test_session_ends_at_the_end_of_input(talk: Talk) -> None:
    assert talk("\x04") == STORED


@pytest.mark.parametrize("line", ["/bye", "/exit", "/byebye"])
def test_session_ends_when_told(talk: Talk, line: str) -> None:
    assert talk(f"{line}\r") == STORED


def test_session_sends_lines_in_quotes_as_one(talk: Talk, server: ContractServer) -> None:
    talk('"""one\rtwo"""\r/bye\r')
    (message,) = server.wait_for(path="/api/chat")["body"]["messages"]
    assert message["content"] == "one\ntwo"


def test_session_sends_a_message_with_new_lines_from_the_keyboard(
    talk: Talk, server: ContractServer
) -> None:
    talk("one\ntwo\r/bye\r")
    (message,) = server.wait_for(path="/api/chat")["body"]["messages"]
    assert message["content"] == "one\ntwo"


def test_session_sends_pasted_quotes_as_one(talk: Talk, server: ContractServer) -> None:
    talk('\x1b[200~"""one\ntwo\n"""\x1b[201~\r/bye\r')
    (message,) = server.wait_for(path="/api/chat")["body"]["messages"]
    assert message["content"] == "one\ntwo\n"


def test_session_carries_out_commands(talk: Talk) -> None:
    printed = talk("/set system x\r/bogus\r/show system\r\r/bye\r")
    assert printed == (
        f"{STORED}Set system message.\nUnknown command '/bogus'. Type /? for help\nx\n"
    )


def test_session_shows_timings_when_verbose(talk: Talk, errors: list[str]) -> None:
    talk("hi\r/set verbose\rhi\r/bye\r")
    assert "".join(errors).count("eval rate:            5.00 tokens/s") == 1


def test_interrupt_at_an_empty_line_says_how_to_leave(talk: Talk) -> None:
    assert talk("\x03\x04") == f"{STORED}\nUse Ctrl + d or /bye to exit.\n"


def test_interrupt_drops_the_line_and_an_open_quote(talk: Talk, server: ContractServer) -> None:
    assert "exit" not in talk('dropped\x03"""open\r\x03kept\r/bye\r')
    (message,) = server.wait_for(path="/api/chat")["body"]["messages"]
    assert message["content"] == "kept"


def test_interrupt_stops_an_answer_and_keeps_what_came(
    talk: Talk, server: ContractServer, keys: PipeInput
) -> None:
    def interrupt() -> None:
        server.wait_for(path="/api/chat")
        os.kill(os.getpid(), signal.SIGINT)
        server.wait_for(closed="/api/chat")
        keys.send_text("more\r")
        bodies.append(server.wait_for(path="/api/chat")["body"])
        os.kill(os.getpid(), signal.SIGINT)
        keys.send_text("/bye\r")

    bodies: list[dict[str, object]] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    printed = talk("go\r", model="endless")
    thread.join(10)
    assert printed.startswith(STORED)
    messages = bodies[0]["messages"]
    assert isinstance(messages, list)
    assert messages[0] == {"role": "user", "content": "go"}
    assert messages[-1] == {"role": "user", "content": "more"}


def test_session_goes_on_after_an_error_about_thinking(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = ServerError('"echo" does not support thinking', http_status=400)

    def stream(*_: object) -> None:
        raise refuse

    monkeypatch.setattr(Client, "stream", stream)
    assert talk("hi\r/bye\r") == f'{STORED}error: "echo" does not support thinking\n'


def test_session_ends_with_another_error(talk: Talk) -> None:
    with pytest.raises(ServerError, match="unexpectedly stopped"):
        talk("one two\r/bye\r", model="failing")


def test_session_keeps_lines_unless_told_otherwise(talk: Talk, home: Path) -> None:
    talk("first\r/set nohistory\rsecond\r/bye\r")
    assert (home / ".ollama/history").read_text() == "first\n/set nohistory\n"


def test_session_keeps_no_lines_when_the_environment_says_so(
    talk: Talk, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_NOHISTORY", "1")
    talk("first\r/bye\r")
    assert not (home / ".ollama/history").exists()


def test_tab_is_eight_blanks(talk: Talk, server: ContractServer) -> None:
    talk("a\tb\r/bye\r")
    (message,) = server.wait_for(path="/api/chat")["body"]["messages"]
    assert message["content"] == "a        b"
