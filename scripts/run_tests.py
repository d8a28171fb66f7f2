"""Runs the tests tier by tier and says what each took and what was not run.

    .venv/bin/python -m scripts.run_tests [unit|test|soak] [pytest arguments]

A tier is a set of folders: `unit` holds the rooms that compute, `rooms` those that open files,
sockets and processes, `engine` whatever starts llama.cpp. With CI set, a test that did not run
fails the whole.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

# Rooms that need neither llama.cpp nor Jupyter nor a second process.
UNIT: Final = (
    "tests/test_errors.py",
    "tests/test_names.py",
    "tests/test_quantities.py",
    "tests/test_config.py",
    "tests/api",
    "tests/catalog",
    "tests/client/test_calls.py",
    "tests/contract",
    "tests/gguf",
    "tests/inference",
    "tests/modelfile",
    "tests/models",
    "tests/prompt",
    "tests/runner/test_batch.py",
    "tests/runner/test_prefix.py",
    "tests/runner/test_slots.py",
    "tests/runner/test_text.py",
    "tests/scheduler/test_placement.py",
    "tests/scheduler/test_state.py",
    "tests/store",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One run of pytest."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a tier came to: its exit code, seconds, and `test: reason` of what was not run."""

    name: str
    exit_code: int
    seconds: float
    not_run: tuple[str, ...]


def tiers(which: str) -> list[Tier]:
    """The tiers of a target, fastest first."""
    unit = Tier(name="unit", arguments=("-m", "not engine and not soak", *UNIT))
    if which == "unit":
        return [unit]
    if which == "soak":
        return [Tier(name="soak", arguments=("-m", "soak", "tests"))]
    ignored = [f"--ignore={path}" for path in UNIT]
    return [
        unit,
        Tier(name="rooms", arguments=("-m", "not engine and not soak", *ignored, "tests")),
        Tier(name="engine", arguments=("-m", "engine and not soak", "tests")),
    ]


def not_run(report: Path) -> tuple[str, ...]:
    """What a JUnit report says was skipped, with the reason of each."""
    if not report.exists():
        return ()
    found = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None and skipped.get("type") != "pytest.xfail":
            name = f"{case.get('classname')}.{case.get('name')}"
            found.append(f"{name}: {skipped.get('message', '')}")
    return tuple(found)


def run_tier(tier: Tier, extra: list[str]) -> Outcome:
    """Run one tier, its output going to the terminal as it comes."""
    print(f"== {tier.name}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        done = subprocess.run([*command, *tier.arguments, *extra], cwd=ROOT, check=False)
        skipped = not_run(report)
    return Outcome(
        name=tier.name,
        exit_code=done.returncode,
        seconds=time.monotonic() - started,
        not_run=skipped,
    )


def main(arguments: list[str]) -> int:
    """Run the target's tiers; 0 when every test that ran passed, and in CI all ran."""
    which = arguments[0] if arguments else "test"
    outcomes = [run_tier(tier, arguments[1:]) for tier in tiers(which)]
    print()
    for outcome in outcomes:
        state = "passed" if outcome.exit_code == 0 else "FAILED"
        print(f"{outcome.name}: {state} in {outcome.seconds:.1f} s")
    left_out = [line for outcome in outcomes for line in outcome.not_run]
    print("not run: " + ("nothing" if not left_out else str(len(left_out))))
    for line in left_out:
        print(f"  {line}")
    if any(outcome.exit_code for outcome in outcomes):
        return 1
    return 1 if left_out and os.environ.get("CI") else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
