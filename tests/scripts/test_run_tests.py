from pathlib import Path

import pytest

from scripts import run_tests


def test_every_unit_path_exists() -> None:
    missing = [path for path in run_tests.UNIT if not (run_tests.ROOT / path).exists()]
    assert not missing


def test_tiers_together_leave_no_test_out() -> None:
    unit, rooms, engine = run_tests.tiers("test")
    assert set(run_tests.UNIT) <= set(unit.arguments)
    assert {f"--ignore={path}" for path in run_tests.UNIT} <= set(rooms.arguments)
    assert "engine and not soak" in engine.arguments


def test_report_lists_skipped_tests_with_their_reason(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.a" name="test_b">'
        '<skipped type="pytest.skip" message="not run: absent"/></testcase>'
        '<testcase classname="tests.a" name="test_c"/>'
        '<testcase classname="tests.a" name="test_d">'
        '<skipped type="pytest.xfail" message="known"/></testcase></testsuite></testsuites>'
    )
    assert run_tests.not_run(report) == ("tests.a.test_b: not run: absent",)


@pytest.mark.parametrize(("ci", "expected"), [("1", 1), ("", 0)])
def test_a_test_that_did_not_run_fails_only_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, expected: int
) -> None:
    outcome = run_tests.Outcome(name="unit", exit_code=0, seconds=1.0, not_run=("a: b",))
    monkeypatch.setattr(run_tests, "run_tier", lambda tier, extra: outcome)
    monkeypatch.setenv("CI", ci)
    assert run_tests.main(["unit"]) == expected


def test_a_failed_tier_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run_tests.Outcome(name="unit", exit_code=1, seconds=1.0, not_run=())
    monkeypatch.setattr(run_tests, "run_tier", lambda tier, extra: outcome)
    assert run_tests.main(["unit"]) == 1
