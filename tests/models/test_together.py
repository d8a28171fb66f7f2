"""Creating, copying, deleting, listing and starting again, all at once on shared layers."""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.errors import NotFound
from ollama_jupyter.models.library import copy, delete
from ollama_jupyter.store.store import Store
from tests.models import building
from tests.models.building import create_base, make_catalog, statuses, upload
from tests.store.making import blob_names

NAMES = ("one", "two", "three")
ROUNDS = 25


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = make_catalog(tmp_path / "store")
    create_base(catalog)
    return catalog


def check_all(catalog: Catalog) -> None:
    """Every listed model can be loaded, and every blob of it is what its name says."""
    for stored in catalog.store.manifests.list():
        for layer in stored.manifest.blobs:
            assert catalog.store.blobs.verify(layer.digest)
        catalog.resolve(stored.name.full())


def _actions(catalog: Catalog, luck: random.Random) -> list[Callable[[], object]]:
    def some() -> str:
        return luck.choice(NAMES)

    return [
        lambda: statuses(catalog, model=some(), from_="base", system=some()),
        lambda: statuses(catalog, model=some(), from_=some(), parameters={"seed": 1}),
        lambda: copy(catalog, "base", some()),
        lambda: copy(catalog, some(), some()),
        lambda: delete(catalog, some()),
        lambda: delete(catalog, some()),
        lambda: catalog.list(),
        lambda: catalog.resolve("base"),
        lambda: Store(catalog.store.layout.root).prepare(),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_any_interleaving_loses_no_shared_layer(catalog: Catalog, seed: int) -> None:
    faults: list[BaseException] = []

    def work(luck: random.Random) -> None:
        actions = _actions(catalog, luck)
        for _ in range(ROUNDS):
            try:
                luck.choice(actions)()
            except NotFound:
                continue  # another thread has just deleted that model
            except BaseException as fault:  # noqa: BLE001  # told to the test below
                faults.append(fault)
                return

    threads = [
        threading.Thread(target=work, args=(random.Random(seed * 10 + i),)) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    check_all(catalog)
    for name in (stored.name.full() for stored in catalog.store.manifests.list()):
        delete(catalog, name)
    assert {path.name for path in catalog.store.layout.ingest.iterdir()} <= {"lock"}


def test_cycles_of_create_and_delete_leave_nothing_behind(catalog: Catalog) -> None:
    before = blob_names(catalog.store.layout.root)
    for number in range(20):
        files = {"m.gguf": upload(catalog, building.OTHER_MODEL)}
        statuses(catalog, model="cycle", files=files, system=f"number {number}")
        delete(catalog, "cycle")
    assert blob_names(catalog.store.layout.root) == before


def test_uncollected_orphans_go_when_the_store_is_prepared(catalog: Catalog) -> None:

    orphan = catalog.store.blobs.put(b"orphan")
    os.utime(catalog.store.layout.blob(orphan), (0, 0))
    catalog.store.prepare()
    assert not catalog.store.blobs.has(orphan)
    check_all(catalog)
