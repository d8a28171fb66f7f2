"""From a model and its options to what placement reckons with, and on to what a runner is told."""

from pathlib import Path
from typing import Final

from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.config import Config
from ollama_jupyter.errors import NotFound, OllamaError, RunnerStartFailed
from ollama_jupyter.runner.process import new_socket_path
from ollama_jupyter.runner.wire import RunnerSpec
from ollama_jupyter.scheduler.devices import Devices
from ollama_jupyter.scheduler.placement import Placement, Policy, Want

_KV_CACHE_TYPES: Final = ("f16", "q8_0", "q4_0")


class Launcher:
    """Writes specs for runners.

    Attributes:
        policy: what the operator's settings mean for placement.
    """

    def __init__(self, config: Config, devices: Devices) -> None:
        """Use the settings of one server on one machine."""
        is_known = config.kv_cache_type in _KV_CACHE_TYPES
        self.policy = Policy(
            num_parallel=config.num_parallel,
            context_length=config.context_length,
            kv_cache_type=config.kv_cache_type if is_known else _KV_CACHE_TYPES[0],
        )
        self._config = config
        self._devices = devices

    def spec(self, model: Model, want: Want, placement: Placement) -> RunnerSpec:
        """What a runner is started with; makes the folder of its socket.

        Raises:
            NotFound: the weights are gone.
            RunnerStartFailed: there is no place for a socket.
        """
        if not model.weights_path.exists():
            raise NotFound(f'model "{model.name}" not found, try pulling it first')
        try:
            socket_path = new_socket_path(self._config.runtime_dir)
        except OSError as error:
            raise RunnerStartFailed(f"cannot make a folder for a socket: {error}") from error
        options, cores = want.options, self._devices.cores()
        return RunnerSpec(
            model_path=str(model.weights_path),
            socket_path=str(socket_path),
            slots=placement.slots,
            num_ctx=placement.num_ctx,
            num_batch=placement.num_batch,
            num_gpu=options.num_gpu,
            main_gpu=options.main_gpu,
            num_threads=min(options.num_thread or cores, cores),
            use_mmap=options.use_mmap,
            flash_attention=self._config.flash_attention,
            kv_cache_type=self.policy.kv_cache_type,
            is_encoder=want.shape.is_encoder,
            adapters=want.adapters,
            prefix_sharing=self._config.prefix_sharing,
        )


def want(model: Model, options: RunnerOptions) -> Want:
    """The runner a model needs under these options."""
    extra = (*model.adapters, *model.projectors)
    return Want(
        weights=str(model.weights),
        adapters=tuple(map(str, model.adapters)),
        projectors=tuple(map(str, model.projectors)),
        extra_bytes=sum(map(_size_bytes, extra)),
        options=options,
        shape=model.metadata,
    )


def with_hint(error: OllamaError, model: Model) -> OllamaError:
    """The error, with the reference's advice when the file itself is what does not load."""
    if not isinstance(error, RunnerStartFailed) or "failed to load model" not in str(error):
        return error
    return RunnerStartFailed(
        f"{error}: this model may be incompatible with your version of Ollama. If you previously"
        f" pulled this model, try updating it by running `ollama pull {model.name}`",
        exit_code=error.exit_code,
        log_tail=error.log_tail,
    )


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the load will say so
