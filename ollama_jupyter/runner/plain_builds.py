"""Which builds of llama.cpp crash in their fastest CPU kernels on this machine.

Some builds die of an illegal instruction or a bad access at the first decode, because the compiler
got a kernel for rare CPU features wrong. Such a build works without its extra buffer types. That is
learnt once, by a crash, and kept in one small file, so that later starts need no crash.
"""

import importlib.metadata
import importlib.util
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_FILE_NAME: Final = "plain-builds.json"
_LIMIT_BYTES: Final = 1 << 16
_KEPT_BUILDS: Final = 16


class PlainBuilds:
    """The list of such builds, in a file of the user's folder.

    A file that cannot be read counts as empty, one that cannot be written costs a crash later.
    """

    def __init__(self, user_dir: Path, build: str | None = None) -> None:
        """Use the file in `user_dir`; `build` names the build in use, None finds out."""
        self._path = user_dir / _FILE_NAME
        self._build = build if build is not None else installed_build()

    def has_current(self) -> bool:
        """Whether the build in use is known to crash with extra buffer types."""
        return self._build in self._read()

    def add_current(self) -> None:
        """Remember the build in use, and warn: it is slower than it could be."""
        logger.warning(
            "this build of llama.cpp crashes in its fastest CPU kernels, so it runs without them;"
            " a rebuild with CMAKE_ARGS='-DCMAKE_CXX_FLAGS=\"-fno-tree-dse -fno-dse\"' cures it"
        )
        builds = [build for build in self._read() if build != self._build] + [self._build]
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(builds[-_KEPT_BUILDS:]), encoding="utf-8")
            partial.replace(self._path)

    def _read(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_LIMIT_BYTES))
        except (OSError, ValueError, RecursionError):
            return []
        return (
            [build for build in found if isinstance(build, str)] if isinstance(found, list) else []
        )


def installed_build() -> str:
    """A name for the llama.cpp that is installed: its version, and size and time of its libraries.

    The package is looked up, never imported: importing it loads the native library.
    """
    try:
        marks = [importlib.metadata.version("llama-cpp-python")]
    except importlib.metadata.PackageNotFoundError:
        return "none"
    spec = importlib.util.find_spec("llama_cpp")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        for library in sorted(Path(folder).rglob("*ggml-cpu*")):
            with suppress(OSError):
                found = library.stat()
                marks.append(f"{found.st_size}.{found.st_mtime_ns}")
    return "-".join(marks)
