"""What a runner is told, and what errors say."""

from dataclasses import replace
from pathlib import Path

import pytest

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.config import Config
from ollama_jupyter.errors import NotFound, RunnerStartFailed
from ollama_jupyter.scheduler import launch
from ollama_jupyter.scheduler.devices import Devices
from ollama_jupyter.scheduler.placement import Placement
from tests.fakes.models import metadata_for, model_for
from tests.fakes.runners import write_script

PLACEMENT = Placement(slots=2, num_ctx=1024, num_batch=256, size_bytes=1)


def launcher(folder: Path, **environ: str) -> launch.Launcher:
    environ = {"HOME": str(folder), "OLLAMA_JUPYTER_RUNTIME_DIR": str(folder / "run"), **environ}
    return launch.Launcher(Config.from_environment(environ), Devices())


def test_spec_has_placement_options_and_settings(short_dir: Path) -> None:
    model = model_for(write_script(short_dir / "weights"))
    options = RunnerOptions(num_gpu=3, main_gpu=1, num_thread=1, use_mmap=False)
    made = launcher(short_dir, OLLAMA_FLASH_ATTENTION="1", OLLAMA_KV_CACHE_TYPE="Q8_0")
    spec = made.spec(model, launch.want(model, options), PLACEMENT)
    assert (spec.slots, spec.num_ctx, spec.num_batch) == (2, 1024, 256)
    assert (spec.num_gpu, spec.main_gpu, spec.num_threads, spec.use_mmap) == (3, 1, 1, False)
    assert (spec.flash_attention, spec.kv_cache_type) == (True, "q8_0")
    assert spec.model_path == str(short_dir / "weights")
    assert Path(spec.socket_path).parent.parent == short_dir / "run"


def test_spec_takes_the_cores_there_are_when_threads_are_automatic(short_dir: Path) -> None:
    model = model_for(write_script(short_dir / "weights"))
    spec = launcher(short_dir).spec(model, launch.want(model, RunnerOptions()), PLACEMENT)
    assert spec.num_threads == Devices().cores()
    assert (spec.flash_attention, spec.kv_cache_type) == (None, "f16")


def test_spec_has_no_more_threads_than_cores_however_many_are_asked_for(short_dir: Path) -> None:
    model = model_for(write_script(short_dir / "weights"))
    want = launch.want(model, RunnerOptions(num_thread=1000))
    assert launcher(short_dir).spec(model, want, PLACEMENT).num_threads == Devices().cores()


def test_spec_falls_back_to_f16_when_the_cache_type_is_unknown(short_dir: Path) -> None:
    assert launcher(short_dir, OLLAMA_KV_CACHE_TYPE="q17").policy.kv_cache_type == "f16"


def test_spec_says_that_an_encoder_is_one(short_dir: Path) -> None:
    metadata = metadata_for(architecture="bert")
    model = model_for(write_script(short_dir / "weights"), metadata=metadata)
    spec = launcher(short_dir).spec(model, launch.want(model, RunnerOptions()), PLACEMENT)
    assert spec.is_encoder


def test_spec_raises_not_found_when_the_weights_are_gone(short_dir: Path) -> None:
    model = model_for(short_dir / "weights")
    with pytest.raises(NotFound, match="try pulling it first"):
        launcher(short_dir).spec(model, launch.want(model, RunnerOptions()), PLACEMENT)


def test_spec_raises_start_failed_when_there_is_no_place_for_a_socket(short_dir: Path) -> None:
    model = model_for(write_script(short_dir / "weights"))
    (short_dir / "run").write_text("a file")
    with pytest.raises(RunnerStartFailed, match="folder for a socket"):
        launcher(short_dir).spec(model, launch.want(model, RunnerOptions()), PLACEMENT)


def test_want_counts_the_files_beside_the_weights(short_dir: Path) -> None:
    adapter = short_dir / "adapter"
    adapter.write_bytes(b"x" * 100)
    model = replace(
        model_for(short_dir / "weights"), adapters=(adapter,), projectors=(short_dir / "none",)
    )
    want = launch.want(model, RunnerOptions())
    assert want.extra_bytes == 100
    assert want.adapters == (str(adapter),)
    assert want.projectors == (str(short_dir / "none"),)


def test_with_hint_adds_advice_only_when_the_file_does_not_load(short_dir: Path) -> None:
    model = model_for(short_dir / "odd")
    failed = RunnerStartFailed("failed to load model", exit_code=1, log_tail="log")
    hinted = launch.with_hint(failed, model)
    assert isinstance(hinted, RunnerStartFailed)
    assert str(hinted).endswith("by running `ollama pull odd:latest`")
    assert (hinted.exit_code, hinted.log_tail) == (1, "log")
    for other in (RunnerStartFailed("it ended"), NotFound("failed to load model")):
        assert launch.with_hint(other, model) is other
