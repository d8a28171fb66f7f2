"""The reference's own Python client, unchanged, against our server."""

from collections.abc import Iterator

import ollama
import pytest

from scripts.temporary_server import TemporaryServer
from tests.end_to_end.rest import MODEL

pytestmark = pytest.mark.engine


@pytest.fixture
def client(shared_server: TemporaryServer) -> Iterator[ollama.Client]:
    client = ollama.Client(host=shared_server.url)
    yield client
    client._client.close()


def test_generate_answers(client: ollama.Client) -> None:
    reply = client.generate(MODEL, "What is the capital of Japan?", options={"temperature": 0})
    assert "Tokyo" in str(reply.response)
    assert reply.done_reason == "stop"


def test_chat_streams(client: ollama.Client) -> None:
    question = [{"role": "user", "content": "What is the capital of Japan?"}]
    parts = list(client.chat(MODEL, question, stream=True, options={"temperature": 0}))
    assert "Tokyo" in "".join(str(part.message.content) for part in parts)
    assert parts[-1].done
    assert (parts[-1].eval_count or 0) > 0


def test_embed_gives_one_unit_vector_an_input(client: ollama.Client) -> None:
    vectors = client.embed(MODEL, ["sea", "mountain"]).embeddings
    assert len(vectors) == 2
    for vector in vectors:
        assert sum(x * x for x in vector) == pytest.approx(1.0, abs=1e-4)
    assert vectors[0] != vectors[1]


def test_list_ps_and_show_know_the_model(client: ollama.Client) -> None:
    client.generate(MODEL, "")
    assert MODEL in [model.model for model in client.list().models]
    assert MODEL in [model.model for model in client.ps().models]
    shown = client.show(MODEL)
    assert shown.details is not None
    assert shown.details.family == "llama"
    assert shown.modelinfo
    assert shown.modelinfo["general.architecture"] == "llama"


def test_create_copy_and_delete(client: ollama.Client) -> None:
    client.create("pirate", from_=MODEL, system="You are a pirate.", parameters={"seed": 1})
    client.copy("pirate", "corsair")
    names = [model.model for model in client.list().models]
    assert {"pirate:latest", "corsair:latest"} <= set(names)
    shown = client.show("corsair")
    assert "You are a pirate." in str(shown.modelfile)
    client.delete("pirate")
    client.delete("corsair")
    names = [model.model for model in client.list().models]
    assert not {"pirate:latest", "corsair:latest"} & set(names)
    # The weights were shared and stay.
    assert client.generate(MODEL, "Hello", options={"num_predict": 1}).done


def test_an_error_carries_status_and_text(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("nobody")
    assert caught.value.status_code == 404
