"""Commands as a user types them: output, errors, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from ollama_jupyter.cli.connect import NO_SERVER
from ollama_jupyter.cli.main import main
from ollama_jupyter.client.calls import Call
from ollama_jupyter.client.sync import Client
from ollama_jupyter.errors import ServerError
from ollama_jupyter.version import __version__
from tests.cli.conftest import Run, runner
from tests.fakes.contract_server import ContractServer


def test_help_lists_the_commands_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in shown.splitlines()]
    assert names == [
        *("serve", "create", "show", "run", "stop", "list", "ps", "cp", "rm"),
        *("shutdown", "doctor"),
    ]


def test_help_ends_with_the_variables_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Environment Variables:\n")[2].splitlines()
    names = [line.split()[0] for line in lines]
    assert names[0] == "OLLAMA_HOST"
    assert len(names) == len(set(names)) > 20
    assert lines[0].startswith(f"  {'OLLAMA_HOST':<27} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cp", "a"], "accepts 2 arg(s), received 1"),
        (["show"], "accepts 1 arg(s), received 0"),
        (["stop", "a", "b"], "accepts 1 arg(s), received 2"),
        (["rm"], "requires at least 1 arg(s), only received 0"),
        (["run"], "requires at least 1 arg(s), only received 0"),
        (["bogus"], "No such command 'bogus'."),
        (["run", "m", "--think=maybe"], 'invalid value for --think: "maybe"'),
        (["run", "m", "--keepalive", "5"], 'time: missing unit in duration "5"'),
        (["run", "m", "--format", "{"], "--format is neither json nor a JSON schema"),
        (["create", "a/b/c/d"], "invalid model name: a/b/c/d"),
    ],
)
def test_wrong_line_is_one_line_of_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"Error: {message}")
    assert captured.err.count("\n") == 1


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize("arguments", [["ps"], ["stop", "m"]])
def test_ps_and_stop_start_no_server(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"Error: {NO_SERVER}\n"
    assert not (home / "run").exists()


@pytest.mark.usefixtures("no_server")
def test_shutdown_without_a_server_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shutdown"]) == 0
    assert capsys.readouterr().out == "no server is running\n"


def test_shutdown_refuses_to_end_a_server_of_another_kind(run: Run, server: ContractServer) -> None:
    outcome = run("shutdown")
    assert outcome.code == 1
    assert server.url in outcome.err


@pytest.mark.usefixtures("no_server")
def test_version_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == (
        "Warning: could not connect to a running Ollama instance\n"
        f"Warning: client version is {__version__}\n"
    )


def test_version_tells_both_when_they_differ(run: Run) -> None:
    assert run("-v").out == (
        f"ollama version is 0.12.3\nWarning: client version is {__version__}\n"
    )


def test_list_and_ls_show_the_models_with_a_prefix(run: Run) -> None:
    outcome = run("list", "ECHO")
    assert outcome.code == 0
    header, row = outcome.out.splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert row.startswith("echo:latest    ")
    assert run("ls", "ECHO") == outcome
    assert len(run("list").out.splitlines()) == 10


def test_ps_shows_what_is_loaded(run: Run) -> None:
    assert len(run("ps").out.splitlines()) == 1
    run("run", "echo", "hello")
    row = run("ps").out.splitlines()[1].split()
    assert row[0] == "echo:latest"
    assert row[2:] == ["250", "MB", "100%", "CPU", "4096", "Forever"]


def test_stop_unloads(run: Run) -> None:
    run("run", "echo", "hello")
    assert run("stop", "echo") == (0, "", "")
    assert len(run("ps").out.splitlines()) == 1
    assert run("stop", "nope") == (1, "", 'Error: couldn\'t find model "nope" to stop\n')


def test_cp_and_rm(run: Run) -> None:
    assert run("cp", "echo", "other") == (0, "copied 'echo' to 'other'\n", "")
    assert run("rm", "other", "echo") == (0, "deleted 'other'\ndeleted 'echo'\n", "")
    assert run("rm", "nope", "cut") == (1, "", "Error: model 'nope' not found\n")
    assert "cut:latest" in run("list").out


def test_rm_unloads_first(run: Run, server: ContractServer) -> None:
    run("run", "echo", "hello")
    run("rm", "echo")
    assert server.bodies("/api/generate")[-1] == {"model": "echo", "stream": False, "keep_alive": 0}


def test_rm_warns_when_a_model_cannot_be_unloaded_and_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Client.request

    def refuse_unload(client: Client, call: Call) -> object:
        if call.path == "/api/generate":
            raise ServerError("busy", http_status=503)
        return request(client, call)

    monkeypatch.setattr(Client, "request", refuse_unload)
    assert run("rm", "echo") == (
        0,
        "deleted 'echo'\n",
        "Warning: unable to stop model 'echo'\n",
    )


# --- run ------------------------------------------------------------------------------------


def test_run_answers_a_prompt(run: Run) -> None:
    assert run("run", "echo", "one", "two") == (0, "one two \n\n", "")


def test_run_puts_piped_text_before_the_prompt(run: Run, server: ContractServer) -> None:
    assert run("run", "echo", "what is it?", stdin="a text").out == "a text what is it? \n\n"
    assert server.wait_for(path="/api/generate")["body"] == {
        "model": "echo",
        "prompt": "a text what is it?",
    }


def test_run_reads_a_prompt_from_a_pipe_alone(run: Run) -> None:
    assert run("run", "echo", stdin="only this\n").out == "only this \n\n"


def test_run_only_loads_when_there_is_nothing_to_ask(run: Run) -> None:
    assert run("run", "echo") == (0, "", "")
    assert "echo:latest" in run("ps").out


def test_run_sends_what_the_flags_say(run: Run, server: ContractServer) -> None:
    run("run", "echo", "hi", "--keepalive", "1m", "--format", '{"type":"object"}', "--think=low")
    assert server.wait_for(path="/api/generate")["body"] == {
        "model": "echo",
        "prompt": "hi",
        "keep_alive": "1m",
        "format": {"type": "object"},
        "think": "low",
    }


def test_run_takes_a_bare_think_without_eating_the_prompt(run: Run, server: ContractServer) -> None:
    run("run", "thinker", "--think", "hi")
    body = server.wait_for(path="/api/generate")["body"]
    assert (body["prompt"], body["think"]) == ("hi", True)
    run("run", "thinker", "hi", "--think=false")
    assert server.wait_for(path="/api/generate")["body"]["think"] is False


def test_run_leaves_a_think_behind_two_dashes_alone(run: Run, server: ContractServer) -> None:
    run("run", "echo", "--", "--think")
    assert server.wait_for(path="/api/generate")["body"]["prompt"] == "--think"


def test_run_shows_thinking_apart_or_not_at_all(run: Run) -> None:
    assert run("run", "thinker", "one").out == ("Thinking...\nhmm\n...done thinking.\n\none \n\n")
    assert run("run", "thinker", "one", "--hidethinking").out == "one \n\n"


def test_run_lets_no_escape_of_a_model_through(run: Run) -> None:
    assert run("run", "painter", "x").out == "red link end\n\n"


def test_run_shows_timings_when_verbose(run: Run) -> None:
    outcome = run("run", "echo", "hi", "--verbose")
    assert outcome.out == "hi \n\n"
    assert outcome.err.splitlines() == [
        "total duration:       2s",
        "load duration:        500ms",
        "prompt eval count:    7 token(s)",
        "prompt eval duration: 250ms",
        "prompt eval rate:     28.00 tokens/s",
        "eval count:           5 token(s)",
        "eval duration:        1s",
        "eval rate:            5.00 tokens/s",
    ]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("failing", "unexpectedly stopped"),
        ("broken", "broke off"),
        ("cut", "without a last record"),
    ],
)
def test_run_keeps_what_came_and_says_what_failed(run: Run, model: str, message: str) -> None:
    outcome = run("run", model, "one two")
    assert outcome.code == 1
    assert outcome.out.startswith("one ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_run_names_what_to_do_when_a_model_is_missing(run: Run) -> None:
    outcome = run("run", "nope", "hi")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: model 'nope' not found; ")


def test_run_prints_the_vector_of_an_embedder(run: Run, server: ContractServer) -> None:
    assert run("run", "embedder", "hi", "--truncate", "false", "--dimensions", "2").out == (
        "[0.6,0.8]\n"
    )
    assert server.wait_for(path="/api/embed")["body"] == {
        "model": "embedder",
        "input": "hi",
        "truncate": False,
        "dimensions": 2,
    }
    outcome = run("run", "embedder")
    assert outcome.code == 1
    assert "embedding models require input text" in outcome.err


def test_list_over_a_broken_pipe_says_nothing(server: ContractServer, home: Path) -> None:
    command = f"{sys.executable} -m ollama_jupyter list | :"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(home), "OLLAMA_HOST": server.url, "PATH": "/bin:/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""


def test_commands_load_neither_server_nor_prompt_library(home: Path) -> None:
    program = (
        "import sys; from ollama_jupyter.cli.main import main; main(['ps']);"
        "print([name for name in ('tornado', 'prompt_toolkit', 'rich', 'asyncio', 'numpy')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"HOME": str(home), "OLLAMA_HOST": f"unix:{home}/none.sock"},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("home")
def test_key_of_the_environment_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ContractServer(key="secret") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        outcome = runner(monkeypatch, capsys)("ps")
        assert outcome == (1, "", "Error: unauthorized\n")
        monkeypatch.setenv("OLLAMA_API_KEY", "secret")
        assert runner(monkeypatch, capsys)("ps").code == 0
