import os
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.api.types import CreateRequest, Message
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.offered import OfferedModel
from ollama_jupyter.errors import BadRequest, InvalidModelFile, NotFound, StoreError
from ollama_jupyter.models.create import create
from ollama_jupyter.names import ModelName
from ollama_jupyter.store.disk import digest_of
from ollama_jupyter.store.manifests import ADAPTER as ADAPTER_LAYER
from ollama_jupyter.store.manifests import LICENSE, MODEL, PARAMS, PROJECTOR, SYSTEM, TEMPLATE
from ollama_jupyter.store.store import Store
from tests.models import building
from tests.models.building import create_base, make_catalog, statuses, upload
from tests.store.making import blob_names, snapshot

ZERO = "sha256:" + "0" * 64


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return make_catalog(tmp_path / "store")


def kinds(catalog: Catalog, name: str) -> list[str]:
    stored = catalog.store.manifests.read(ModelName.parse(name))
    return [layer.media_type for layer in stored.manifest.layers]


# --- from files -----------------------------------------------------------------------------


def test_model_is_made_from_a_gguf(catalog: Catalog) -> None:
    digest = upload(catalog, building.MODEL)
    assert statuses(catalog, model="new", files={"model.gguf": digest}) == [
        "parsing GGUF",
        f"using existing layer {digest}",
        "writing manifest",
        "success",
    ]
    model = catalog.resolve("new")
    assert str(model.weights) == digest
    assert model.config.model_format == "gguf"
    assert (model.config.model_family, model.config.model_families) == ("llama", ("llama",))
    assert (model.config.model_type, model.config.file_type) == ("160", "F16")
    assert model.details.parent_model == "model.gguf"
    assert model.template == ""


def test_every_part_becomes_a_layer_in_order(catalog: Catalog) -> None:
    seen = statuses(
        catalog,
        name="new",
        files={"a/model.gguf": upload(catalog, building.MODEL)},
        adapters={"lora.gguf": upload(catalog, building.ADAPTER)},
        template="{{ .Prompt }}",
        system="Be brief.",
        license=["MIT", "Apache"],
        parameters={"temperature": 0.5, "num_ctx": 4096},
        messages=(Message(role="user", content="hi"),),
        requires="0.14.0",
    )
    assert seen.count("parsing GGUF") == 2
    created = [status for status in seen if status.startswith("creating new layer sha256:")]
    assert len(created) == 6
    model = catalog.resolve("new")
    assert model.template == "{{ .Prompt }}"
    assert model.system == "Be brief."
    assert model.licenses == ("MIT", "Apache")
    assert model.messages == (Message(role="user", content="hi"),)
    assert len(model.adapters) == 1
    assert model.config.requires == "0.14.0"
    assert catalog.store.blobs.read(_layer(catalog, "new", PARAMS), 100) == (
        b'{"num_ctx":4096,"temperature":0.5}\n'
    )
    assert kinds(catalog, "new")[:5] == [MODEL, ADAPTER_LAYER, TEMPLATE, SYSTEM, LICENSE]


def _layer(catalog: Catalog, name: str, kind: str) -> Any:  # noqa: ANN401
    stored = catalog.store.manifests.read(ModelName.parse(name))
    return next(layer.digest for layer in stored.manifest.layers if layer.media_type == kind)


def test_projector_joins_the_families(catalog: Catalog) -> None:
    files = {
        "model.gguf": upload(catalog, building.MODEL),
        "mmproj.gguf": upload(catalog, building.PROJECTOR),
    }
    statuses(catalog, model="eyes", files=files)
    assert kinds(catalog, "eyes") == [MODEL, PROJECTOR]
    assert catalog.resolve("eyes").config.model_families == ("llama", "clip")
    assert "vision" in catalog.resolve("eyes").capabilities


def test_gguf_is_known_by_its_content_whatever_its_name(catalog: Catalog) -> None:
    assert statuses(catalog, model="x", files={"w.bin": upload(catalog, building.MODEL)})


def test_second_model_of_the_same_parts_makes_no_new_blob(catalog: Catalog) -> None:
    create_base(catalog, "one")
    before = blob_names(catalog.store.layout.root)
    create_base(catalog, "two")
    assert blob_names(catalog.store.layout.root) == before


# --- from another model ---------------------------------------------------------------------


def test_layers_of_another_model_are_shared(catalog: Catalog) -> None:
    create_base(catalog)
    statuses(catalog, model="child", from_="base", system="Be long.")
    base, child = catalog.resolve("base"), catalog.resolve("child")
    assert child.weights_path == base.weights_path
    assert child.template == base.template
    assert child.parameters == base.parameters
    assert child.licenses == base.licenses
    assert child.system == "Be long."
    assert child.config == base.config
    assert child.details.parent_model == "base:latest"
    assert kinds(catalog, "child") == [MODEL, TEMPLATE, LICENSE, PARAMS, SYSTEM]


def test_parameters_merge_key_by_key_and_licenses_append(catalog: Catalog) -> None:
    create_base(catalog)
    statuses(
        catalog,
        model="child",
        from_="base:latest",
        license="GPL",
        template="{{ .Prompt }}",
        parameters={"temperature": 1, "stop": ["y"]},
    )
    child = catalog.resolve("child")
    assert child.parameters == {"num_ctx": 2048, "temperature": 1, "stop": ["y"]}
    assert child.licenses == ("MIT", "GPL")
    assert child.template == "{{ .Prompt }}"
    assert kinds(catalog, "child").count(TEMPLATE) == 1


def test_model_may_be_made_from_itself(catalog: Catalog) -> None:
    create_base(catalog)
    old_system = digest_of(b"Be brief.")
    statuses(catalog, model="base", from_="base", system="Be long.")
    assert catalog.resolve("base").system == "Be long."
    assert not catalog.store.blobs.has(old_system)


def test_file_beside_a_model_must_not_be_a_second_one(catalog: Catalog) -> None:
    create_base(catalog)
    projector = {"p.gguf": upload(catalog, building.PROJECTOR)}
    statuses(catalog, model="eyes", from_="base", files=projector)
    assert "vision" in catalog.resolve("eyes").capabilities
    with pytest.raises(BadRequest, match="built on one model"):
        statuses(
            catalog, model="x", from_="base", files={"m.gguf": upload(catalog, building.MODEL)}
        )


def test_missing_base_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match='model "nope:latest" not found'):
        statuses(catalog, model="x", from_="nope")


def test_name_in_another_case_overwrites_the_model_that_is_there(catalog: Catalog) -> None:
    create_base(catalog, "Foo")
    create_base(catalog, "fOO:LATEST")
    assert [stored.name.display() for stored in catalog.store.manifests.list()] == ["Foo:latest"]


def test_overwriting_removes_what_only_the_old_model_used(catalog: Catalog) -> None:
    create_base(catalog, "one")
    files = {"m.gguf": upload(catalog, building.OTHER_MODEL)}
    statuses(catalog, model="one", files=files)
    assert len(blob_names(catalog.store.layout.root)) == 2  # weights and config


def test_offered_model_that_was_deleted_comes_back_by_create(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(building.MODEL)
    store = Store(tmp_path / "store")
    offered = OfferedModel(name="tiny:1m", path=path)
    catalog = Catalog(store, go_template=None, offered=True, find_offered=lambda: (offered,))
    catalog.offers.withdraw(ModelName.parse("tiny:1m"))
    assert statuses(catalog, model="tiny:1m", from_="tiny:1m")[-1] == "success"
    assert [entry.name for entry in catalog.list()] == ["tiny:1m"]


# --- what is refused ------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"from_": "base"}, "invalid model name"),
    "bad name": ({"model": "a b", "from_": "base"}, "invalid model name"),
    "nothing to build on": ({"model": "x"}, "neither 'from' or 'files' was specified"),
    "no files": ({"model": "x", "files": {}}, "no files provided to convert"),
    "bad from": ({"model": "x", "from_": "^"}, "invalid model name"),
    "absolute path": ({"model": "x", "files": {"/a.gguf": ZERO}}, "file path must be relative"),
    "path with ..": ({"model": "x", "files": {"a/../b": ZERO}}, "file path must be relative"),
    "path with .": ({"model": "x", "files": {"./b": ZERO}}, "file path must be relative"),
    "empty path": ({"model": "x", "files": {"": ZERO}}, "file path must be relative"),
    "path with //": ({"model": "x", "files": {"a//b": ZERO}}, "file path must be relative"),
    "empty digest": ({"model": "x", "files": {"a.gguf": ""}}, "invalid digest format"),
    "bad digest": ({"model": "x", "files": {"a.gguf": "sha256:x"}}, "invalid digest format"),
    "two adapters": (
        {"model": "x", "from_": "base", "adapters": {"a": ZERO, "b": ZERO}},
        "only one adapter is currently supported",
    ),
    "quantize": (
        {"model": "x", "from_": "base", "quantize": "q4_K_M"},
        "quantizing to 'Q4_K_M' is not supported yet",
    ),
    "bad template": (
        {"model": "x", "from_": "base", "template": "{{ .Prompt"},
        "template error: ",
    ),
    "bad license": ({"model": "x", "from_": "base", "license": 7}, "license must be"),
    "bad licenses": ({"model": "x", "from_": "base", "license": ["a", 7]}, "license must be"),
    "bad parameter": (
        {"model": "x", "from_": "base", "parameters": {"num_ctx": "many"}},
        'option "num_ctx" must be of type integer',
    ),
    "bad info": (
        {"model": "x", "from_": "base", "info": {"context_length": "long"}},
        'info field "context_length" must be a number',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_request_is_refused_before_anything_happens(catalog: Catalog, name: str) -> None:
    create_base(catalog)
    before = snapshot(catalog.store.layout.root)
    fields, reason = REFUSED[name]
    with pytest.raises(BadRequest) as caught:
        next(iter(create(catalog, CreateRequest(**fields))))
    assert reason in str(caught.value)
    assert snapshot(catalog.store.layout.root) == before


@pytest.mark.parametrize(
    ("path", "content", "error", "reason"),
    [
        ("w.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", BadRequest, "safetensors models can't"),
        ("w.gguf", b"no gguf at all", InvalidModelFile, "was not in GGUF format"),
        ("w.gguf", b"GGUF", InvalidModelFile, "end of the file"),
        ("w.gguf", b"FUGG" + b"\0" * 40, InvalidModelFile, "no GGUF"),
        ("w.txt", b"text", BadRequest, "unknown type"),
        ("w.txt", b"", BadRequest, "unknown type"),
        ("w.gguf", building.SPLIT, BadRequest, "one of 3 parts"),
        ("w.gguf", building.CRASHER, InvalidModelFile, "block_count"),
        ("w.gguf", building.PROJECTOR, BadRequest, "none of the files holds a model"),
    ],
)
def test_file_no_model_can_be_made_of_is_refused(
    catalog: Catalog, path: str, content: bytes, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        statuses(catalog, model="x", files={path: upload(catalog, content)})
    assert catalog.list() == []


def test_adapter_must_be_one(catalog: Catalog) -> None:
    create_base(catalog)
    adapters = {"lora.gguf": upload(catalog, building.MODEL)}
    with pytest.raises(BadRequest, match="is a model, not an adapter"):
        statuses(catalog, model="x", from_="base", adapters=adapters)


def test_blob_that_was_not_sent_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match=f'blob "{ZERO}" not found'):
        statuses(catalog, model="x", files={"a.gguf": ZERO})


# --- faults ---------------------------------------------------------------------------------


def test_create_that_is_given_up_changes_no_model(catalog: Catalog) -> None:
    create_base(catalog)
    before = catalog.store.manifests.list()
    request = CreateRequest(model="base", from_="base", system="Be long.")
    records = create(catalog, request)
    for record in records:
        if record.status == "writing manifest":
            break
    records.close()
    assert catalog.store.manifests.list() == before
    # No lease is left behind: the blob of the text can be collected.
    assert catalog.store.remove_unused([digest_of(b"Be long.")]) == [digest_of(b"Be long.")]


def test_blobs_of_a_running_create_survive_the_removal_of_their_model(catalog: Catalog) -> None:
    create_base(catalog)
    stored = catalog.store.manifests.read(ModelName.parse("base"))
    records = create(catalog, CreateRequest(model="child", from_="base"))
    next(iter(records))
    catalog.store.manifests.remove(stored.name)
    catalog.store.remove_unused(stored.manifest.digests)
    assert list(records)[-1].status == "success"
    assert catalog.resolve("child").system == "Be brief."


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_full_disk_leaves_the_old_model(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    create_base(catalog)
    before = catalog.store.manifests.list()

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreError, match="no space left"):
        statuses(catalog, model="base", from_="base", system="Be long.")
    monkeypatch.undo()
    assert catalog.store.manifests.list() == before
    assert {path.name for path in catalog.store.layout.ingest.iterdir()} <= {"lock"}
    assert statuses(catalog, model="base", from_="base", system="Be long.")[-1] == "success"
