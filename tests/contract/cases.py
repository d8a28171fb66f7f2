"""Cases of the behaviour contract, as its JSON files hold them."""

import json
from dataclasses import dataclass
from pathlib import Path

from ollama_jupyter.api.types import JSON

SHARED = Path(__file__).parents[2].parent / "shared" / "contract" / "cases"
"""Where the cases lie when they are at hand."""

Key = tuple[str, str]
"""Suite and kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An input and what must come of it."""

    suite: str
    kind: str
    name: str
    input: JSON
    expect: JSON

    @property
    def key(self) -> Key:
        """What chooses the adapter and the rule of comparison."""
        return self.suite, self.kind


def read_cases(folder: Path) -> list[Case]:
    """Every case of a folder's JSON files, by file and then in file order.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is no file of cases.
    """
    cases = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict) or "suite" not in content:
            raise ValueError(f"{path} holds no cases")
        cases += [
            Case(
                suite=content["suite"],
                kind=case["kind"],
                name=case["name"],
                input=case["input"],
                expect=case["expect"],
            )
            for case in content["cases"]
        ]
    return cases
