import os
import time
from pathlib import Path

import pytest

from ollama_jupyter.api.types import Message
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.errors import (
    BadRequest,
    InvalidModelFile,
    InvalidName,
    NotFound,
    OllamaError,
    StoreError,
    UnsupportedCapability,
)
from ollama_jupyter.store.store import Store
from tests.gguf.building import LLAMA, gguf
from tests.store.making import put, put_manifest, snapshot

WEIGHTS = gguf()
LIBRARY = "registry.ollama.ai/library"
FULL: list[tuple[str, bytes]] = [
    ("model", WEIGHTS),
    ("template", b"{{ .System }} {{ .Prompt }}"),
    ("system", b"Be brief."),
    ("params", b'{"num_ctx":2048,"stop":["x","y"]}\n'),
    ("messages", b'[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]\n'),
    ("license", b"MIT"),
    ("license", b"Apache"),
    ("adapter", b"GGUF adapter"),
    ("embed", b"ignored"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put_manifest(tmp_path, f"{LIBRARY}/full/latest", FULL)
    return tmp_path


@pytest.fixture
def catalog(root: Path) -> Catalog:
    return Catalog(Store(root), go_template=None, offered=False)


def make_old(root: Path) -> None:
    moment = time.time() - 86400
    for path in (root / "blobs").iterdir():
        os.utime(path, (moment, moment))


# --- resolving ------------------------------------------------------------------------------


def test_model_has_all_its_layers(catalog: Catalog, root: Path) -> None:
    model = catalog.resolve("full")
    assert model.name.full() == f"{LIBRARY}/full:latest"
    assert model.weights_path.read_bytes() == WEIGHTS
    assert model.weights_path.name == model.weights.file_name
    assert model.template == "{{ .System }} {{ .Prompt }}"
    assert model.system == "Be brief."
    assert model.parameters == {"num_ctx": 2048, "stop": ["x", "y"]}
    assert model.messages == (
        Message(role="user", content="hi"),
        Message(role="assistant", content="ho"),
    )
    assert model.licenses == ("MIT", "Apache")
    assert [path.read_bytes() for path in model.adapters] == [b"GGUF adapter"]
    assert model.projectors == ()
    assert model.capabilities == ("completion",)
    assert not model.uses_chat_template
    assert model.metadata.architecture == "llama"
    assert model.size == model.manifest.size > len(WEIGHTS)
    assert (model.details.family, model.details.quantization_level) == ("llama", "F16")


@pytest.mark.parametrize("text", ["full", "FULL:Latest", "library/full", f"{LIBRARY}/full:latest"])
def test_every_spelling_resolves_to_the_stored_name(catalog: Catalog, text: str) -> None:
    assert catalog.resolve(text).name.display() == "full:latest"


def test_unknown_and_illegal_names_are_refused(catalog: Catalog) -> None:
    with pytest.raises(NotFound) as caught:
        catalog.resolve("nope")
    assert str(caught.value) == "model 'nope' not found"
    for text in ("", "a/b/c/d/e", "../etc", "a\0b"):
        with pytest.raises(InvalidName):
            catalog.resolve(text)


def test_names_that_share_a_manifest_share_what_was_read(catalog: Catalog, root: Path) -> None:
    raw = (root / "manifests" / LIBRARY / "full" / "latest").read_bytes()
    other = root / "manifests" / LIBRARY / "other" / "v1"
    other.parent.mkdir()
    other.write_bytes(raw)
    first, second = catalog.resolve("full"), catalog.resolve("other:v1")
    assert second.name.display() == "other:v1"
    assert second.metadata is first.metadata


def test_new_manifest_under_a_name_is_seen_at_once(catalog: Catalog, root: Path) -> None:
    assert catalog.resolve("full").system == "Be brief."
    put_manifest(root, f"{LIBRARY}/full/latest", [("model", WEIGHTS), ("system", b"Be long.")])
    assert catalog.resolve("full").system == "Be long."


def test_jinja_template_of_the_weights_is_used_without_a_go_template(
    catalog: Catalog, root: Path
) -> None:
    weights = gguf({**LLAMA, "tokenizer.chat_template": "{% if tools %}{% endif %}"})
    put_manifest(root, f"{LIBRARY}/jinja/latest", [("model", weights)])
    model = catalog.resolve("jinja")
    assert model.uses_chat_template
    assert model.chat_template == "{% if tools %}{% endif %}"
    assert model.capabilities == ("tools", "completion")


def test_old_prompt_layer_is_a_template_and_a_bad_template_gives_no_capability(
    catalog: Catalog, root: Path
) -> None:
    layers = [("model", WEIGHTS), ("prompt", b"{{ .Suffix }}")]
    put_manifest(root, f"{LIBRARY}/old/latest", layers)
    assert catalog.resolve("old").capabilities == ("completion", "insert")
    put_manifest(root, f"{LIBRARY}/bad/latest", [("model", WEIGHTS), ("template", b"{{ .Tools")])
    assert catalog.resolve("bad").capabilities == ("completion",)


def test_projector_is_read(catalog: Catalog, root: Path) -> None:
    clip = gguf({"general.architecture": "clip", "clip.has_audio_encoder": True})
    put_manifest(root, f"{LIBRARY}/eyes/latest", [("model", WEIGHTS), ("projector", clip)])
    model = catalog.resolve("eyes")
    assert model.capabilities == ("completion", "vision", "audio")
    assert model.projector_metadata[0].architecture == "clip"


def test_check_refuses_what_the_model_lacks(catalog: Catalog) -> None:
    model = catalog.resolve("full")
    catalog.check(model, "completion")
    with pytest.raises(
        UnsupportedCapability, match=f"^{LIBRARY}/full:latest does not support tools"
    ):
        catalog.check(model, "tools")


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_read_before", [False, True])
def test_missing_weights_are_not_found(catalog: Catalog, is_read_before: bool) -> None:
    path = catalog.resolve("full").weights_path
    if not is_read_before:
        catalog = Catalog(catalog.store, go_template=None, offered=False)
    path.unlink()
    with pytest.raises(NotFound, match='model "full:latest" not found, try pulling it first'):
        catalog.resolve("full")


@pytest.mark.parametrize("size", [0, 100, len(WEIGHTS) - 1, len(WEIGHTS) + 1])
def test_weights_of_a_wrong_size_are_refused(catalog: Catalog, size: int) -> None:
    path = catalog.resolve("full").weights_path
    path.write_bytes((WEIGHTS + b"x")[:size])
    with pytest.raises(StoreError, match="is damaged"):
        catalog.resolve("full")


def test_weights_that_are_no_gguf_are_refused(catalog: Catalog, root: Path) -> None:
    put_manifest(root, f"{LIBRARY}/text/latest", [("model", b"just some text")])
    with pytest.raises(InvalidModelFile):
        catalog.resolve("text")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (("params", b"[1]"), "parameters of the model are damaged"),
        (("params", b"{" * 100_000), "parameters of the model are damaged"),
        (("messages", b'{"role":"user"}'), "messages of the model are damaged"),
    ],
)
def test_damaged_layer_is_refused_with_its_name(
    catalog: Catalog, root: Path, layer: tuple[str, bytes], reason: str
) -> None:
    put_manifest(root, f"{LIBRARY}/bad/latest", [("model", WEIGHTS), layer])
    with pytest.raises(StoreError, match=reason):
        catalog.resolve("bad")


def test_flipped_bit_in_a_text_layer_is_noticed(catalog: Catalog, root: Path) -> None:
    entry = put(root, b"Be brief.")
    (root / "blobs" / entry["digest"].replace(":", "-")).write_bytes(b"Be bribed")
    with pytest.raises(StoreError, match="damaged"):
        catalog.resolve("full")


def test_models_of_the_cloud_and_without_weights_do_not_run(catalog: Catalog, root: Path) -> None:
    put_manifest(root, f"{LIBRARY}/cloud/latest", [], remote_host="https://x", remote_model="y")
    put_manifest(root, f"{LIBRARY}/mlx/latest", [("tensor", b"t")], model_format="safetensors")
    with pytest.raises(BadRequest, match="this server cannot run this remote model"):
        catalog.resolve("cloud")
    with pytest.raises(BadRequest, match="no GGUF weights"):
        catalog.resolve("mlx")


# --- listing --------------------------------------------------------------------------------


def test_list_tells_name_size_and_details(catalog: Catalog, root: Path) -> None:
    (listed,) = catalog.list()
    stored = catalog.store.manifests.list()[0]
    assert listed.name == listed.model == "full:latest"
    assert listed.digest == stored.digest.hex
    assert listed.size == stored.size
    assert listed.capabilities == ("completion",)
    details = listed.details
    assert (details.parent_model, details.format, details.families) == ("", "gguf", ("llama",))
    assert (details.context_length, details.embedding_length) == (128, 32)


def test_damaged_models_do_not_hide_the_others(catalog: Catalog, root: Path) -> None:
    put_manifest(root, f"{LIBRARY}/headless/latest", [("model", b"no gguf")])
    put_manifest(root, f"{LIBRARY}/configless/latest", [("model", WEIGHTS)], file_type="Q1")
    config = catalog.store.manifests.list()[0].manifest.config
    for stored in catalog.store.manifests.list():
        if stored.name.model == "configless":
            config = stored.manifest.config
    catalog.store.blobs.path(config.digest).unlink()
    broken = root / "manifests" / LIBRARY / "broken" / "latest"
    broken.parent.mkdir()
    broken.write_bytes(b"{")
    listed = {entry.name: entry.capabilities for entry in catalog.list()}
    assert listed == {"full:latest": ("completion",), "headless:latest": ()}


def test_store_of_the_reference_is_used_and_not_rewritten(root: Path) -> None:
    put_manifest(root, "hf.co/me/Model-GGUF/Q4_K_M", FULL[:3], old_names=True, file_type="Q4_K_M")
    put_manifest(root, "localhost:5000/me/model/v1", FULL[:1])
    make_old(root)
    before = snapshot(root)
    store = Store(root)
    store.prepare()
    catalog = Catalog(store, go_template=None, offered=False)
    names = sorted(entry.name for entry in catalog.list())
    assert names == ["full:latest", "hf.co/me/Model-GGUF:Q4_K_M", "localhost:5000/me/model:v1"]
    for name in names:
        assert catalog.resolve(name).weights_path.read_bytes() == WEIGHTS
    with pytest.raises(OllamaError):
        catalog.resolve("nope")
    assert snapshot(root) == before
