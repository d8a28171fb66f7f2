import subprocess
import sys
from pathlib import Path

import pytest

from scripts import setup


def _build(**changes: str) -> setup.Build:
    facts = {
        "version": "1",
        "cmake_args": "-DX=1",
        "compiler": "c++ 12",
        "cpu_flags": "avx avx2",
        "platform": "Linux x86_64",
    }
    return setup.Build(**(facts | changes))


def test_build_key_is_equal_for_equal_builds() -> None:
    assert _build().key == _build().key


@pytest.mark.parametrize("fact", ["version", "cmake_args", "compiler", "cpu_flags", "platform"])
def test_build_key_differs_when_one_fact_differs(fact: str) -> None:
    assert _build(**{fact: "another"}).key != _build().key


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", "-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'"),
        ("-DGGML_CUDA=on", "-DGGML_CUDA=on -DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'"),
        ("-DCMAKE_CXX_FLAGS=-O1", "-DCMAKE_CXX_FLAGS=-O1"),
    ],
)
def test_cmake_args_keep_what_the_user_set(own: str, expected: str) -> None:
    assert setup.cmake_args({"CMAKE_ARGS": own}) == expected


def test_cpu_flags_are_sorted_from_the_first_processor() -> None:
    text = "processor : 0\nflags\t\t: sse avx\n\nprocessor : 1\nflags : other\n"
    assert setup.cpu_flags(text) == "avx sse"


def test_cpu_flags_are_empty_when_the_text_has_none() -> None:
    assert setup.cpu_flags("model name : x\n") == ""


def test_unit_packages_leave_out_the_engine_and_jupyter() -> None:
    names = " ".join(setup.needed_packages((setup.ROOT / "pyproject.toml").read_text(), "test"))
    assert "msgspec" in names
    assert "pytest" in names
    assert "llama" not in names
    assert "ipython" not in names


def test_cached_wheel_is_taken_without_a_build(tmp_path: Path) -> None:
    wheel = tmp_path / "llama_cpp_python-1-py3-none-any.whl"
    wheel.touch()
    assert setup.build_wheel(_build(), tmp_path) == wheel


def test_missing_compiler_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SystemExit):
        setup.compiler_version()
    error = capsys.readouterr().err
    assert "install one" in error
    assert error.count("\n") == 1


def test_full_disk_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(setup.NEEDED_DISK_BYTES, "demo", 1 << 62)
    with pytest.raises(SystemExit):
        setup.check_machine("demo")
    assert "make room" in capsys.readouterr().err


def test_old_python_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit):
        setup.check_machine("unit")
    assert "install Python 3.11" in capsys.readouterr().err


def test_unknown_level_ends_in_one_sentence() -> None:
    command = [sys.executable, str(setup.ROOT / "scripts" / "setup.py"), "everything"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("setup: usage")


def test_a_cached_wheel_that_cannot_decode_is_built_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first wheel is wrong, as one built without the flags is; the second is not."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "llama_cpp_python-1-py3-none-any.whl").write_text("wrong")
    installed: list[str] = []

    def build(*arguments: str, **_: object) -> None:
        if arguments[0] == "wheel":
            target = Path(arguments[arguments.index("-w") + 1])
            target.mkdir()
            (target / "llama_cpp_python-1-py3-none-any.whl").write_text("right")
        elif arguments[-1].endswith(".whl"):
            installed.append(Path(arguments[-1]).read_text())

    monkeypatch.setattr(setup, "pip", build)
    monkeypatch.setattr(setup, "wheel_folder", lambda build: folder)
    monkeypatch.setattr(setup, "decodes", lambda: installed[-1] == "right")
    setup.install_engine(_build())
    assert installed == ["wrong", "right"]


def test_a_build_that_never_decodes_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*arguments: str, **_: object) -> None:
        if arguments[0] == "wheel":
            target = Path(arguments[arguments.index("-w") + 1])
            target.mkdir()
            (target / "llama_cpp_python-1-py3-none-any.whl").touch()

    monkeypatch.setattr(setup, "pip", build)
    monkeypatch.setattr(setup, "wheel_folder", lambda build: tmp_path / "wheels")
    monkeypatch.setattr(setup, "decodes", lambda: False)
    with pytest.raises(SystemExit):
        setup.install_engine(_build())
    assert "GGML_NATIVE=OFF" in capsys.readouterr().err
