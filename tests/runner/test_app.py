"""The child as its parent sees it: the protocol, faults, cancels, life and death."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ollama_jupyter.runner.wire import (
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    Grammar,
    TemplateRequest,
    TokenizeRequest,
)
from tests.runner.bench import GREEDY, wait_until
from tests.runner.child import ROOT, Child, child
from tests.tiny_models import Shape, write_bert, write_llama, write_script

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short enough for a socket's path."""
    path = Path(tempfile.mkdtemp(prefix="oj-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_script(folder / "script.gguf")


@pytest.fixture(scope="module")
def runner(model: Path, folder: Path) -> Iterator[Child]:
    with child(model, folder) as running:
        yield running


def _ask(prompt: str, **fields: object) -> CompletionRequest:
    return CompletionRequest(prompt=prompt, sampling=GREEDY, **fields)  # type: ignore[arg-type]  # any field


def test_health_tells_slots_context_and_memory(runner: Child) -> None:
    health = runner.health()

    assert health is not None
    assert (health.status, health.slots, health.num_ctx) == ("ok", 4, 512)
    assert health.completed == health.total == Path(runner.spec.model_path).stat().st_size
    assert health.memory_bytes > 10 << 20


def test_socket_belongs_to_our_user_alone(runner: Child) -> None:
    assert stat.S_IMODE(runner.socket_path.stat().st_mode) == 0o600


def test_completion_streams_the_first_token_at_once(runner: Child) -> None:
    lines = runner.stream("/completion", _ask("<|cue_chat|>"))

    assert lines[0]["text"] == "Hello"
    assert "".join(line.get("text", "") for line in lines) == "Hello from the scripted model."
    assert lines[-1]["done"]
    assert lines[-1]["stop_reason"] == "stop"
    assert sum("done" in line for line in lines) == 1


def test_heartbeat_grows_with_work(runner: Child) -> None:
    before = runner.health()
    runner.stream("/completion", _ask("<|cue_chat|>"))
    after = runner.health()

    assert before is not None
    assert after is not None
    assert after.heartbeat > before.heartbeat


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"no": "prompt"}, "prompt"),
        (_ask("<|cue_chat|>", grammar=Grammar(kind="regex", value="(")), "invalid format"),
        (_ask("fox " * 2000, truncate=False), "longer than the context"),
    ],
)
def test_wrong_request_is_a_fault_of_400(runner: Child, body: object, part: str) -> None:
    status, reply = runner.request("POST", "/completion", body)

    assert status == 400
    assert part in reply.decode()
    assert b'"status":400' in reply


def test_unknown_route_is_a_fault_of_404(runner: Child) -> None:
    status, reply = runner.request("GET", "/nothing")

    assert status == 404
    assert b'"error"' in reply


def test_tokens_come_back_as_text(runner: Child) -> None:
    text = "The quick brown fox \u732b"

    tokens = runner.post("/tokenize", TokenizeRequest(text=text))["tokens"]

    assert runner.post("/detokenize", DetokenizeRequest(tokens=tuple(tokens)))["text"] == text


def test_tokenize_reads_names_of_special_tokens_only_when_asked(runner: Child) -> None:
    read = runner.post("/tokenize", TokenizeRequest(text="<|im_end|>"))
    plain = runner.post("/tokenize", TokenizeRequest(text="<|im_end|>", parse_special=False))

    assert read["tokens"] == [2]
    assert len(plain["tokens"]) > 1


def test_detokenize_of_no_token_is_a_fault(runner: Child) -> None:
    assert runner.request("POST", "/detokenize", DetokenizeRequest(tokens=(1 << 30,)))[0] == 400


def test_apply_template_renders_the_models_own(runner: Child) -> None:
    messages = [{"role": "user", "content": "Hi"}]

    plain = runner.post("/apply-template", TemplateRequest(messages=messages))
    thinking = runner.post(
        "/apply-template", TemplateRequest(messages=messages, enable_thinking=True)
    )

    start = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert plain["prompt"] == start + "<|cue_chat|>"
    assert thinking["prompt"] == start + "<|cue_think|>"


def test_embedding_gives_a_vector_an_input(runner: Child) -> None:
    reply = runner.post("/embedding", EmbeddingRequest(inputs=("one", "two three")))

    assert len(reply["embeddings"]) == 2
    assert reply["prompt_tokens"] > 2


def test_embedding_of_nothing_is_nothing(runner: Child) -> None:
    assert runner.post("/embedding", EmbeddingRequest(inputs=()))["embeddings"] == []


def test_requests_side_by_side_are_all_answered(runner: Child) -> None:
    connections = [
        runner.begin("POST", "/completion", _ask(cue))
        for cue in ("<|cue_chat|>", "<|cue_think|>", "<|cue_final|>") * 4
    ]
    replies = [connection.getresponse().read() for connection in connections]
    for connection in connections:
        connection.close()

    assert all(b'"done":true' in reply for reply in replies)


def test_encoder_refuses_to_generate(folder: Path) -> None:
    path = write_bert(folder / "bert.gguf")
    home = Path(tempfile.mkdtemp(dir=folder))
    with child(path, home, is_encoder=True, slots=1) as running:
        assert running.request("POST", "/completion", _ask("hi"))[0] == 400
        assert len(running.post("/embedding", EmbeddingRequest(inputs=("fox",)))["embeddings"]) == 1


@pytest.mark.parametrize("moment", ["prompt", "answer"])
def test_closed_connection_frees_the_slot(folder: Path, moment: str) -> None:
    shape = Shape(width=512, inner=1536, layers=8, heads=8, kv_heads=4)
    path = write_llama(folder / "slow.gguf", shape=shape)
    home = Path(tempfile.mkdtemp(dir=folder))
    with child(path, home, num_ctx=2048, num_batch=2048) as running:
        prompt = "a b c d " * 200 if moment == "prompt" else "one"
        connection = running.begin("POST", "/completion", _ask(prompt, num_predict=-1))
        if moment == "answer":
            assert connection.getresponse().readline()
        else:
            wait_until(lambda: running.health().running == 1)  # type: ignore[union-attr]  # it is up
        if connection.sock is not None:
            connection.sock.close()
        connection.close()

        wait_until(lambda: running.health().running == 0, seconds=2)  # type: ignore[union-attr]  # it is up
        assert running.stream("/completion", _ask("one", num_predict=3))[-1]["done"]


def test_bad_model_is_told_by_health_and_requests(folder: Path) -> None:
    path = folder / "bad.gguf"
    path.write_bytes(b"GGUF and nothing more")
    home = Path(tempfile.mkdtemp(dir=folder))
    with child(path, home) as running:
        health = running.health()
        assert health is not None
        assert health.status == "error"
        assert "unable to load model" in health.error
        assert running.request("GET", "/health")[0] == 500
        assert running.request("POST", "/completion", _ask("hi"))[0] == 500


def test_runner_ends_cleanly_when_asked(model: Path, folder: Path) -> None:
    home = Path(tempfile.mkdtemp(dir=folder))
    with child(model, home) as running:
        running.post("/apply-template", _hello())
        helpers = psutil.Process(running.process.pid).children()
        running.process.terminate()

        assert running.process.wait(3) == 0
        assert not running.socket_path.exists()
        _, alive = psutil.wait_procs(helpers, timeout=3)
        assert not alive


def _hello() -> TemplateRequest:
    return TemplateRequest(messages=[{"role": "user", "content": "Hi"}])


def test_runner_ends_when_its_life_pipe_does(model: Path, folder: Path) -> None:
    home = Path(tempfile.mkdtemp(dir=folder))
    with child(model, home) as running:
        assert running.process.stdin is not None
        running.process.stdin.close()

        assert running.process.wait(3) == 0
        assert not running.socket_path.exists()


def test_runner_dies_with_a_parent_that_is_killed(model: Path, folder: Path) -> None:
    home = Path(tempfile.mkdtemp(dir=folder))
    program = (
        "import sys, time; from pathlib import Path; from tests.runner.child import child\n"
        "with child(Path(sys.argv[1]), Path(sys.argv[2])) as c:\n"
        "    print(c.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(model), str(home)], stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()

    wait_until(lambda: not psutil.pid_exists(pid), seconds=3)


def test_runner_gave_up_cores_and_new_privileges(runner: Child) -> None:
    status = Path(f"/proc/{runner.process.pid}/status").read_text("ascii")
    limits = Path(f"/proc/{runner.process.pid}/limits").read_text("ascii")

    assert "NoNewPrivs:\t1" in status
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4] == "0"


def test_runner_loads_no_room_above_its_own() -> None:
    program = (
        "import sys, ollama_jupyter.runner.app, ollama_jupyter.runner.jinja\n"
        "print(*(n.split('.')[1] for n in sys.modules if n.startswith('ollama_jupyter.')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    assert not set(found) & {"server", "client", "inference", "models", "scheduler", "registry"}


def test_interrupt_ends_it_like_terminate(model: Path, folder: Path) -> None:
    home = Path(tempfile.mkdtemp(dir=folder))
    with child(model, home) as running:
        os.kill(running.process.pid, signal.SIGINT)
        assert running.process.wait(3) == 0
