"""The contract's own cases, one test per suite and kind that has an adapter."""

import pytest

from tests.contract.cases import SHARED, Key, read_cases
from tests.contract.run import find_adapters, run

_ADAPTERS = find_adapters()


@pytest.mark.parametrize("key", sorted(_ADAPTERS), ids=" ".join)
def test_cases_pass(key: Key) -> None:
    if not SHARED.is_dir():
        pytest.skip("not run: ../shared/contract is absent")
    cases = [case for case in read_cases(SHARED) if case.key == key]
    tallies = run(cases, _ADAPTERS)
    faults = [line for tally in tallies.values() for line in tally.faults + tally.surprises]
    assert not faults, "\n".join(faults)
