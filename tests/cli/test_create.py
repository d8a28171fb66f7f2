"""`create` reads a Modelfile, sends the files it names, and asks for the model."""

import hashlib
from pathlib import Path

import pytest

from ollama_jupyter.cli.create import read_plan, upload_names
from ollama_jupyter.errors import BadRequest
from tests.cli.conftest import Run
from tests.fakes.contract_server import ContractServer


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_create_makes_a_model_from_another(run: Run, server: ContractServer, home: Path) -> None:
    path = home / "Modelfile"
    path.write_text("FROM echo\nSYSTEM be brief\nPARAMETER seed 7\nPARAMETER mirostat 1\n")
    outcome = run("create", "mine", "-f", str(path))
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        "warning: parameter mirostat is deprecated",
        "gathering model components",
        "parsing GGUF",
        "success",
    ]
    assert server.wait_for(path="/api/create")["body"] == {
        "model": "mine",
        "from": "echo",
        "system": "be brief",
        "parameters": {"seed": 7},
    }


def test_create_hands_over_the_files_a_modelfile_names(
    run: Run, server: ContractServer, home: Path
) -> None:
    (home / "weights.gguf").write_bytes(b"weights")
    (home / "lora.gguf").write_bytes(b"lora")
    path = home / "Modelfile"
    path.write_text("FROM ./weights.gguf\nADAPTER ./lora.gguf\n")
    assert run("create", "mine", "-f", str(path), "-q", "q4_K_M").code == 0
    assert server.wait_for(path="/api/create")["body"] == {
        "model": "mine",
        "files": {"weights.gguf": digest(b"weights")},
        "adapters": {"lora.gguf": digest(b"lora")},
        "quantize": "q4_K_M",
    }


def test_create_takes_the_folder_when_there_is_no_modelfile(
    run: Run, server: ContractServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "model"
    folder.mkdir()
    monkeypatch.chdir(folder)
    outcome = run("create", "mine")
    assert outcome.code == 1
    assert "no Modelfile or safetensors files found" in outcome.err
    (folder / "a.gguf").write_bytes(b"a")
    assert run("create", "mine").code == 0
    assert server.wait_for(path="/api/create")["body"]["files"] == {"a.gguf": digest(b"a")}


def test_create_says_what_is_wrong_with_a_modelfile(run: Run, home: Path) -> None:
    path = home / "Modelfile"
    path.write_text("FRUM echo\n")
    outcome = run("create", "mine", "-f", str(path))
    assert outcome.code == 1
    assert outcome.err.startswith("Error: (line 1): command must be one of")


def test_read_plan_raises_when_the_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot read"):
        read_plan(tmp_path)


def test_upload_names_are_paths_below_what_files_have_in_common() -> None:
    assert upload_names([]) == []
    assert upload_names([Path("/a/b/c.gguf")]) == ["c.gguf"]
    assert upload_names([Path("/a/b/c.gguf"), Path("/a/d.gguf")]) == ["b/c.gguf", "d.gguf"]
