from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.client.conversation import Piece
from ollama_jupyter.client.daemon import Connection
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Host
from ollama_jupyter.notebook.answer import describe_wait
from ollama_jupyter.notebook.display import METADATA_KEY
from ollama_jupyter.notebook.failures import CellFailed, CellInterrupted
from tests.fakes.contract_server import ContractServer
from tests.notebook.conftest import Notebook, requests_so_far


def asked(server: ContractServer) -> list[dict[str, Any]]:
    """The chat requests since this was last asked."""
    return [body for path, body in requests_so_far(server) if path == "/api/chat"]


# --- %%chat ---------------------------------------------------------------------------------


def test_chat_shows_the_answer_in_one_display(notebook: Notebook) -> None:
    assert notebook.run("%%chat echo\nsay **this** again").success
    assert notebook.text == "say **this** again "
    assert "<p>say <strong>this</strong> again</p>" in notebook.outputs[-1]["data"]["text/html"]
    assert [output["update"] for output in notebook.outputs[:2]] == [False, True]
    assert len({output["transient"]["display_id"] for output in notebook.outputs}) == 1


def test_chat_keeps_the_figures_in_the_metadata(notebook: Notebook) -> None:
    notebook.run("%%chat echo\nx")
    assert notebook.outputs[-1]["metadata"][METADATA_KEY] == {
        "model": "echo",
        "done_reason": "stop",
        "prompt_eval_count": 7,
        "eval_count": 5,
        "eval_duration": 1_000_000_000,
    }


def test_chat_keeps_the_conversation_from_cell_to_cell(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    notebook.run("%%chat echo\nfirst")
    notebook.run("%%chat echo\nsecond")
    assert [(m["role"], m["content"]) for m in asked(contract_server)[-1]["messages"]] == [
        ("user", "first"),
        ("assistant", "first "),
        ("user", "second"),
    ]


def test_each_model_keeps_its_own_conversation(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    notebook.run("%%chat echo\nfirst")
    notebook.run("%%chat thinker\nsecond")
    assert len(asked(contract_server)[-1]["messages"]) == 1


@pytest.mark.parametrize("line", ["%ollama reset", "%ollama reset echo"])
def test_reset_forgets_the_conversation(
    notebook: Notebook, contract_server: ContractServer, line: str
) -> None:
    notebook.run("%%chat echo\nfirst")
    assert notebook.printed(line) == "Forgot the conversation with echo.\n"
    notebook.run("%%chat echo\nsecond")
    assert len(asked(contract_server)[-1]["messages"]) == 1


def test_reset_says_when_there_is_nothing_to_forget(notebook: Notebook) -> None:
    assert notebook.printed("%ollama reset") == "There is no conversation yet.\n"
    assert notebook.printed("%ollama reset x") == "There is no conversation with x.\n"


def test_chat_sends_the_options_of_its_own_line_only(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    notebook.run("%%chat echo --temperature 0 --seed 3 --stop END\nx")
    assert asked(contract_server)[-1]["options"] == {"temperature": 0, "seed": 3, "stop": ["END"]}
    notebook.run("%%chat echo\nx")
    assert "options" not in asked(contract_server)[-1]


def test_chat_sends_the_cell_as_it_is_typed(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    notebook.shell.user_ns["name"] = "replaced"
    notebook.run("%%chat echo\n{name} $name {{x}} !ls %who")
    assert asked(contract_server)[-1]["messages"][0]["content"] == "{name} $name {{x}} !ls %who"


def test_chat_of_a_missing_model_names_the_command_and_downloads_nothing(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    assert notebook.failure("%%chat nosuch:1b\nx") == (
        "Error: model 'nosuch:1b' is not installed; get it with: %ollama pull nosuch:1b"
    )
    assert "/api/pull" not in dict(requests_so_far(contract_server))
    assert notebook.outputs[-1]["data"] == {"text/html": "", "text/plain": ""}


def test_a_question_without_an_answer_is_not_asked_twice(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    for _ in range(2):
        notebook.failure("%%chat nosuch\nx")
        assert len(asked(contract_server)[-1]["messages"]) == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("failing", "Error: model runner has unexpectedly stopped"),
        ("cut", "Error: the server ended its answer without a last record"),
    ],
)
def test_a_broken_answer_fails_the_cell_and_keeps_what_came(
    notebook: Notebook, contract_server: ContractServer, model: str, message: str
) -> None:
    assert notebook.failure(f"%%chat {model}\nhello") == message
    assert notebook.text == "hello "
    assert "broken off" in notebook.outputs[-1]["data"]["text/html"]
    notebook.run(f"%%chat {model}\nagain")
    assert [m["content"] for m in asked(contract_server)[-1]["messages"]] == [
        "hello",
        "hello ",
        "again",
    ]


def test_an_interrupt_ends_the_answer_and_keeps_what_came(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    notebook.publisher.interrupt_at = 3
    result = notebook.run("%%chat endless\nx")
    assert isinstance(result.error_in_exec, CellInterrupted)
    assert str(result.error_in_exec) == "Interrupted; what had come is kept."
    partial = notebook.text
    assert partial.startswith("on on ")
    assert notebook.outputs[-1]["metadata"][METADATA_KEY]["done_reason"] == "interrupted"
    contract_server.wait_for(closed="/api/chat")
    notebook.publisher.interrupt_at = 3
    notebook.run("%%chat endless\nagain")
    contents = [m["content"] for m in asked(contract_server)[-1]["messages"]]
    assert contents == ["x", partial, "again"]


def test_an_interrupt_before_the_first_text_takes_the_question_back(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    notebook.publisher.interrupt_at = 1
    assert notebook.failure("%%chat echo\nx") == "Interrupted."
    notebook.run("%%chat echo\nagain")
    assert len(asked(contract_server)[-1]["messages"]) == 1


def test_model_output_is_inert(notebook: Notebook) -> None:
    notebook.run("%%chat echo\n<script>alert(1)</script> ![x](https://evil.example/p)")
    html = notebook.outputs[-1]["data"]["text/html"]
    assert "<script" not in html
    assert "<img" not in html
    notebook.run("%%chat painter\nx")
    assert "\x1b" not in str(notebook.outputs)


def test_chat_without_a_message_says_where_to_write_it(notebook: Notebook) -> None:
    assert "the cell is empty" in notebook.failure("%%chat echo\n  \n")


def test_chat_help_prints_and_asks_nothing(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    assert "--temperature" in notebook.printed("%%chat -h\nx")
    assert not asked(contract_server)


def test_a_mistyped_option_fails_in_one_line(notebook: Notebook) -> None:
    assert "unrecognized arguments: --temprature" in notebook.failure(
        "%%chat echo --temprature 1\nx"
    )


# --- configuration --------------------------------------------------------------------------


def test_chat_asks_the_configured_model_when_the_line_names_none(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    assert "name a model" in notebook.failure("%%chat\nx")
    notebook.run("%config OllamaMagics.model = 'echo'")
    assert notebook.run("%%chat --seed 1\nx").success
    assert asked(contract_server)[-1]["model"] == "echo"


def test_the_configured_host_goes_before_the_environment(
    notebook: Notebook, contract_server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.1:9")
    notebook.run(f"%config OllamaMagics.host = {contract_server.url!r}")
    assert contract_server.url in notebook.printed("%ollama status")


def test_an_answer_comes_at_once_when_streaming_is_off(notebook: Notebook) -> None:
    notebook.run("%config OllamaMagics.stream = False")
    notebook.run("%%chat echo\na b c")
    assert len(notebook.outputs) == 1
    assert notebook.text == "a b c "


# --- %ollama --------------------------------------------------------------------------------


def test_status_tells_where_and_what(notebook: Notebook, contract_server: ContractServer) -> None:
    assert notebook.printed("%ollama status").startswith(
        f"Running at {contract_server.url}, version 0.12.3; models in memory:"
    )


def test_serve_starts_nothing_when_a_server_runs(
    notebook: Notebook, contract_server: ContractServer
) -> None:
    assert notebook.printed("%ollama serve") == (
        f"A server is running at {contract_server.url} already.\n"
    )


def test_list_shows_installed_models(notebook: Notebook) -> None:
    lines = notebook.printed("%ollama list echo").splitlines()
    assert lines[0].split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert [line.split()[0] for line in lines[1:]] == ["echo:latest"]


def test_ps_shows_a_loaded_model_until_stop(notebook: Notebook) -> None:
    notebook.run("%%chat echo\nx")
    assert "echo:latest    250 MB    100% CPU" in notebook.printed("%ollama ps")
    assert notebook.printed("%ollama stop echo") == "echo is unloaded.\n"
    assert notebook.printed("%ollama ps") == "No model is loaded.\n"


def test_show_tells_what_a_model_is(notebook: Notebook) -> None:
    assert "context length      8192" in notebook.printed("%ollama show echo")


@pytest.mark.parametrize("command", ["show", "stop"])
def test_a_missing_model_is_one_line(notebook: Notebook, command: str) -> None:
    assert "get it with: %ollama pull nosuch" in notebook.failure(f"%ollama {command} nosuch")


def test_pull_says_that_it_comes_later(notebook: Notebook, contract_server: ContractServer) -> None:
    assert "later version" in notebook.printed("%ollama pull echo")
    assert "/api/pull" not in dict(requests_so_far(contract_server))


@pytest.mark.parametrize("command", ["status", "ps", "stop echo"])
def test_commands_that_only_look_start_no_server(
    terminal: Notebook, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A port that nothing listens on: bound by nobody, below the ephemeral range.
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("OLLAMA_JUPYTER_RUNTIME_DIR", str(tmp_path / "run"))
    assert terminal.printed(f"%ollama {command}").startswith("No server is running")


def test_an_address_elsewhere_without_a_server_is_one_line(
    terminal: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://nowhere.invalid:9")
    assert "no Ollama server answers at http://nowhere.invalid:9" in terminal.failure(
        "%ollama list"
    )


def test_an_interrupt_of_a_command_is_one_line(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ollama_jupyter.notebook.link.find", interrupted)
    assert notebook.failure("%ollama status") == "Interrupted."


# --- the shell ------------------------------------------------------------------------------


def test_a_terminal_gets_plain_text(
    terminal: Notebook, contract_server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", contract_server.url)
    assert terminal.printed("%%chat painter\nx").startswith("red link end\n\npainter · 5 tokens")
    assert not terminal.outputs


def test_both_magics_have_help(notebook: Notebook) -> None:
    magics = notebook.shell.magics_manager.magics
    for magic in (magics["line"]["ollama"], magics["cell"]["chat"]):
        assert "usage:" in magic.__doc__


def test_a_failed_cell_is_marked_failed(notebook: Notebook) -> None:
    result = notebook.run("%ollama nonsense")
    assert isinstance(result.error_in_exec, CellFailed)


def test_the_extension_unloads_and_loads_again(notebook: Notebook) -> None:
    notebook.run("%config OllamaMagics.model = 'nosuch'")
    assert notebook.run("%unload_ext ollama_jupyter").success
    assert not notebook.run("%ollama status").success
    assert notebook.run("%load_ext ollama_jupyter").success
    notebook.run("%config OllamaMagics.model = 'echo'")
    assert notebook.run("%%chat\nx").success


# --- what only some servers say -------------------------------------------------------------


def test_a_status_shows_until_the_first_text() -> None:
    assert [
        describe_wait(piece)
        for piece in (
            Piece(status="queued"),
            Piece(status="loading", completed=1_400_000_000, total=2_000_000_000),
            Piece(status="prefill", completed=512, total=1290),
            Piece(status="later kinds"),
            Piece(thinking="hmm"),
        )
    ] == [
        "waiting for its turn",
        "loading 1.4 GB of 2 GB",
        "reading 512 of 1290 tokens",
        "later kinds",
        "thinking",
    ]


def test_a_warning_of_the_look_up_is_shown_once(
    notebook: Notebook, contract_server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(client=Client(Host.parse(contract_server.url)), warnings=("old one",))
    monkeypatch.setattr("ollama_jupyter.notebook.link.find_or_start", lambda *_, **__: connection)
    notebook.capsys.readouterr()
    notebook.run("%%chat echo\nx")
    notebook.run("%%chat echo\nx")
    assert notebook.capsys.readouterr().err == "old one\n"


def test_serve_says_when_it_started_a_server(
    notebook: Notebook, contract_server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(client=Client(Host.parse(contract_server.url)), was_started=True)
    monkeypatch.setattr("ollama_jupyter.notebook.link.find_or_start", lambda *_, **__: connection)
    assert notebook.printed("%ollama serve").startswith(
        f"Started a server at {contract_server.url};"
    )


def test_a_conversation_outlives_its_server(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.run("%%chat echo\nfirst")
    with ContractServer() as other:
        monkeypatch.setenv("OLLAMA_HOST", other.url)
        notebook.run("%%chat echo\nsecond")
        assert [m["content"] for m in asked(other)[-1]["messages"]] == ["first", "first ", "second"]
