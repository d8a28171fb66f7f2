"""Runs cases through adapters.

An adapter is a function from a case's input to its result; it fails with an `OllamaError`. Every
module `adapters_*` of this package has a mapping `ADAPTERS` from (suite, kind) to adapter.
"""

import importlib
import pkgutil
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import tests.contract
from ollama_jupyter.api.types import JSON
from ollama_jupyter.errors import OllamaError
from tests.contract.cases import Case, Key
from tests.contract.compare import difference, error_difference, expects_error
from tests.contract.differences import reason_for

Adapter = Callable[[JSON], JSON]


def find_adapters() -> dict[Key, Adapter]:
    """The adapters of all modules.

    Raises:
        ValueError: two modules have one for the same (suite, kind).
    """
    found: dict[Key, Adapter] = {}
    for module in pkgutil.iter_modules(tests.contract.__path__):
        if module.name.startswith("adapters_"):
            adapters = importlib.import_module(f"{tests.contract.__name__}.{module.name}").ADAPTERS
            if found.keys() & adapters.keys():
                raise ValueError(f"{module.name}: second adapter for {found.keys() & adapters}")
            found |= adapters
    return found


def fault_of(case: Case, adapter: Adapter) -> str | None:
    """What is wrong with the outcome of one case, None when nothing is."""
    try:
        result = adapter(case.input)
    except OllamaError as error:
        return error_difference(case.expect, str(error))
    except Exception:  # noqa: BLE001  (an adapter's own fault is one failed case, not the run's end)
        return traceback.format_exc(limit=-3)
    if expects_error(case.expect):
        return f"succeeded with {result!r}, expected an error"
    return difference(case.key, case.expect, result)


@dataclass(slots=True)
class Tally:
    """The outcome of one suite.

    Attributes:
        faults: a line for each case that failed.
        differences: a line for each case that failed for a known reason.
        surprises: a line for each case that passed although there is a reason why it cannot.
    """

    passed: int = 0
    not_run: int = 0
    faults: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)


def run(cases: Iterable[Case], adapters: Mapping[Key, Adapter]) -> dict[str, Tally]:
    """The outcome of every suite, by name."""
    tallies: dict[str, Tally] = {}
    for case in cases:
        tally = tallies.setdefault(case.suite, Tally())
        adapter = adapters.get(case.key)
        if adapter is None:
            tally.not_run += 1
            continue
        fault = fault_of(case, adapter)
        reason = reason_for(case)
        title = f"{case.suite}/{case.kind} {case.name!r}"
        if fault is None:
            tally.passed += 1
            if reason is not None:
                tally.surprises.append(f"{title} passes, but has the reason: {reason}")
        elif reason is not None:
            tally.differences.append(f"{title}: {reason}")
        else:
            tally.faults.append(f"{title}: {fault}")
    return tallies
