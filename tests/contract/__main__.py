"""`python -m tests.contract DIR`: the count of every suite; exit code 1 when a case fails."""

import sys
from pathlib import Path

from tests.contract.cases import read_cases
from tests.contract.run import find_adapters, run


def main(arguments: list[str]) -> int:
    """Run the cases of a folder, print the outcome and give the exit code."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m tests.contract DIR  (a folder of JSON files with cases)")  # noqa: T201
        return 2
    tallies = run(read_cases(Path(arguments[0])), find_adapters())
    lines = []
    for suite, tally in sorted(tallies.items()):
        counts = f"{tally.passed:5} passed {len(tally.faults):5} failed {tally.not_run:5} not run"
        differing_count = f" {len(tally.differences):5} differ" if tally.differences else ""
        lines.append(f"{suite:24}{counts}{differing_count}")
        shown = tally.faults + tally.differences + tally.surprises
        lines += [f"    {line}" for line in shown]
    passed = sum(tally.passed for tally in tallies.values())
    failed = sum(len(tally.faults) for tally in tallies.values())
    not_run = sum(tally.not_run for tally in tallies.values())
    differing = sum(len(tally.differences) for tally in tallies.values())
    lines.append(f"{passed} passed, {failed} failed, {not_run} not run, {differing} differ")
    print("\n".join(lines))  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
