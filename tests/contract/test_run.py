import json
from pathlib import Path

import pytest

from ollama_jupyter.api.types import JSON
from ollama_jupyter.errors import BadRequest
from tests.contract.__main__ import main
from tests.contract.cases import Case, read_cases
from tests.contract.differences import reason_for
from tests.contract.run import fault_of, find_adapters, run


def refuse(_: JSON) -> JSON:
    raise BadRequest("refused")


def break_down(_: JSON) -> JSON:
    raise KeyError("mistake")


def case(expect: JSON, *, suite: str = "s", kind: str = "k") -> Case:
    return Case(suite=suite, kind=kind, name="n", input=1, expect=expect)


def test_fault_of_tells_failures_from_mistakes() -> None:
    assert fault_of(case({"error": "refused"}), refuse) is None
    assert fault_of(case({"a": 1}), refuse) == "failed: refused"
    assert "KeyError: 'mistake'" in str(fault_of(case({"error": True}), break_down))
    assert (
        fault_of(case({"error": True}), lambda given: given)
        == "succeeded with 1, expected an error"
    )
    assert fault_of(case(1), lambda given: given) is None


def test_run_counts_by_suite() -> None:
    cases = [
        case(1),
        case(2),
        case(1, kind="other"),
        case({"origins": []}, suite="env", kind="origins"),
        case({"origins": [1]}, suite="env", kind="origins"),
    ]
    tallies = run(
        cases, {("s", "k"): lambda given: given, ("env", "origins"): lambda _: {"origins": [1]}}
    )
    assert (tallies["s"].passed, tallies["s"].not_run) == (1, 1)
    assert tallies["s"].faults == ["s/k 'n': result: got 1, expected 2"]
    assert tallies["env"].faults == []
    assert tallies["env"].differences[0].startswith("env/origins 'n': on purpose: pages")
    assert tallies["env"].surprises[0].startswith("env/origins 'n' passes, but has the reason")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/api/pull", "not yet: no registry"),
        ("/v1/models/x", "not yet: no other dialect than the native one"),
        ("/api/tags", None),
    ],
)
def test_reason_for_knows_the_routes_to_come(path: str, reason: str | None) -> None:
    http = Case(suite="http", kind="empty-store", name="n", input={"path": path}, expect={})
    assert reason_for(http) == reason


def test_find_adapters_gathers_all_modules() -> None:
    adapters = find_adapters()
    assert ("model-name", "parse") in adapters
    assert ("durations", "marshal") in adapters


def write_cases(folder: Path, expect: JSON) -> None:
    cases = [{"kind": "human-bytes", "name": "n", "input": 0, "expect": expect, "origin": "test"}]
    (folder / "format.json").write_text(json.dumps({"suite": "format", "cases": cases}))


def test_main_prints_counts_and_gives_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path, "0 B")
    assert main([str(tmp_path)]) == 0
    assert "1 passed, 0 failed, 0 not run" in capsys.readouterr().out
    write_cases(tmp_path, "0 KB")
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "format/human-bytes 'n': result: got '0 B', expected '0 KB'" in out
    assert "0 passed, 1 failed" in out


def test_main_asks_for_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["/no/such/folder"]) == 2
    assert "usage: python -m tests.contract DIR" in capsys.readouterr().out


def test_read_cases_refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match=r"a\.json holds no cases"):
        read_cases(tmp_path)
