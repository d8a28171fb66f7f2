"""An interrupt of a real kernel stops a real answer, at the server too."""

import time

import pytest
from jupyter_client.manager import start_new_kernel

from ollama_jupyter.client import calls
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Host
from ollama_jupyter.notebook.display import METADATA_KEY
from scripts.temporary_server import temporary_server
from tests.notebook.test_kernel import Kernel

LIMIT_SECONDS = 1.0


def running(client: Client) -> int:
    """Requests that the loaded models are answering now."""
    return sum(model["running"] for model in client.request(calls.ps())["models"])


@pytest.mark.engine
def test_an_interrupt_stops_the_model_and_keeps_the_partial_answer() -> None:
    with temporary_server() as server:
        client = Client(Host.parse(server.url))
        manager, kernel_client = start_new_kernel(kernel_name="python3", env=server.environ)
        kernel = Kernel(manager=manager, client=kernel_client)
        try:
            kernel.run("%load_ext ollama_jupyter")
            request_id = kernel.start(
                "%%chat smollm2:135m --temperature 0 --num-predict 3000 --num-ctx 4096\n"
                "Write a very long story about a dragon and a lighthouse."
            )
            text = ""
            while len(text) < 40:
                message = kernel.read(request_id)
                assert message["content"].get("execution_state") != "idle"
                text = message["content"].get("data", {}).get("text/plain", "")
            assert running(client) == 1

            interrupted = time.monotonic()
            manager.interrupt_kernel()
            assert kernel.finish(request_id)["status"] == "error"
            assert time.monotonic() - interrupted < LIMIT_SECONDS
            while running(client):
                assert time.monotonic() - interrupted < LIMIT_SECONDS

            last = kernel.of_type("update_display_data")[-1]
            assert last["data"]["text/plain"].startswith(text)
            assert last["metadata"][METADATA_KEY]["done_reason"] == "interrupted"
            reply = kernel.run("%%chat smollm2:135m --num-predict 5\nGo on.")
            assert reply["status"] == "ok"
        finally:
            kernel_client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
