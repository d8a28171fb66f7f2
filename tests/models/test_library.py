from pathlib import Path

import pytest

from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.offered import OfferedModel
from ollama_jupyter.errors import BadRequest, NotFound
from ollama_jupyter.models.library import copy, delete
from ollama_jupyter.names import ModelName
from ollama_jupyter.store.store import Store
from tests.models import building
from tests.models.building import create_base, make_catalog, statuses, upload
from tests.store.making import blob_names, snapshot


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = make_catalog(tmp_path / "store")
    create_base(catalog)
    return catalog


@pytest.fixture
def offering(tmp_path: Path) -> Catalog:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(building.MODEL)
    offered = OfferedModel(name="tiny:1m", path=path)
    store = Store(tmp_path / "store")
    return Catalog(store, go_template=None, offered=True, find_offered=lambda: (offered,))


def names(catalog: Catalog) -> list[str]:
    return sorted(entry.name for entry in catalog.list())


# --- copy -----------------------------------------------------------------------------------


def test_copy_gives_the_same_manifest_a_second_name(catalog: Catalog) -> None:
    blobs = blob_names(catalog.store.layout.root)
    copy(catalog, "BASE", "me/other:v1")
    assert names(catalog) == ["base:latest", "me/other:v1"]
    assert catalog.resolve("me/other:v1").digest == catalog.resolve("base").digest
    assert blob_names(catalog.store.layout.root) == blobs


@pytest.mark.parametrize("destination", ["base", "Base:LATEST", "library/base"])
def test_copy_onto_itself_changes_nothing(catalog: Catalog, destination: str) -> None:
    before = snapshot(catalog.store.layout.manifests)
    copy(catalog, "base", destination)
    assert snapshot(catalog.store.layout.manifests) == before


def test_copy_over_another_model_takes_its_spelling_and_frees_its_blobs(catalog: Catalog) -> None:
    files = {"m.gguf": upload(catalog, building.OTHER_MODEL)}
    statuses(catalog, model="Other", files=files)
    copy(catalog, "base", "other")
    assert names(catalog) == ["Other:latest", "base:latest"]
    assert len(blob_names(catalog.store.layout.root)) == 6


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("^", "b", 'source "^" is invalid'),
        ("", "b", 'source "" is invalid'),
        ("base", "", 'destination "" is invalid'),
        ("base", "a/b/c/d/e", 'destination "a/b/c/d/e" is invalid'),
    ],
)
def test_copy_refuses_what_is_no_name(
    catalog: Catalog, source: str, destination: str, reason: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        copy(catalog, source, destination)
    assert str(caught.value) == reason


def test_copy_of_a_missing_model_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound) as caught:
        copy(catalog, "nope", "b")
    assert str(caught.value) == 'model "nope" not found'


def test_copy_brings_an_offered_model_in(offering: Catalog) -> None:
    copy(offering, "tiny:1m", "mine")
    assert names(offering) == ["mine:latest", "tiny:1m"]


# --- delete ---------------------------------------------------------------------------------


def test_delete_frees_what_only_that_model_used(catalog: Catalog) -> None:
    statuses(catalog, model="child", from_="base", system="Be long.")
    delete(catalog, "child")
    assert names(catalog) == ["base:latest"]
    catalog.resolve("base")
    delete(catalog, "BASE")
    assert names(catalog) == []
    assert blob_names(catalog.store.layout.root) == set()
    assert list(catalog.store.layout.manifests.iterdir()) == []


def test_deleted_weights_stay_readable_for_who_has_opened_them(catalog: Catalog) -> None:
    with catalog.resolve("base").weights_path.open("rb") as weights:
        delete(catalog, "base")
        assert weights.read() == building.MODEL


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "model is required"), ("  ", "model is required"), ("^", 'name "^" is invalid')],
)
def test_delete_refuses_what_is_no_name(catalog: Catalog, text: str, reason: str) -> None:
    with pytest.raises(BadRequest) as caught:
        delete(catalog, text)
    assert str(caught.value) == reason


def test_delete_of_a_missing_model_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound) as caught:
        delete(catalog, "nope")
    assert str(caught.value) == "model 'nope' not found"


def test_delete_removes_a_damaged_model(catalog: Catalog) -> None:
    path = catalog.store.layout.manifest(ModelName.parse("base"))
    path.write_bytes(b"{")
    delete(catalog, "base")
    assert not path.exists()


def test_deleted_offer_stays_away_until_a_model_takes_its_name(offering: Catalog) -> None:
    offering.resolve("tiny:1m")
    delete(offering, "TINY:1m")
    assert names(offering) == []
    with pytest.raises(NotFound):
        delete(offering, "tiny:1m")
    create_base(offering, "tiny:1m")
    assert names(offering) == ["tiny:1m"]
    assert not offering.offers.is_withdrawn(ModelName.parse("tiny:1m"))


def test_offer_can_be_deleted_before_it_was_ever_used(offering: Catalog) -> None:
    delete(offering, "tiny:1m")
    assert names(offering) == []
