import subprocess
import sys

import pytest

import ollama_jupyter
from ollama_jupyter.client.conversation import Conversation
from tests.fakes.contract_server import ContractServer


def test_importing_the_package_imports_no_room() -> None:
    program = (
        "import sys, ollama_jupyter\n"
        "print([m for m in sys.modules if m.startswith('ollama_jupyter.') or m == 'IPython'])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "['ollama_jupyter.version']\n"


def test_conversation_is_a_public_name() -> None:
    assert ollama_jupyter.Conversation is Conversation
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = ollama_jupyter.Nonsense


def test_connect_gives_a_client_of_the_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with ContractServer() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert ollama_jupyter.connect().host.url == server.url
        monkeypatch.setenv("OLLAMA_HOST", "http://nowhere.invalid:9")
        assert ollama_jupyter.connect(server.url).host.url == server.url
