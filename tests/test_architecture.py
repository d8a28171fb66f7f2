"""The drawing is of this house: every name in it exists, and every room is in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ollama_jupyter"
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
# Rooms that the text itself says are still to come.
TO_COME = {"registry", "lab"}
MOST_FILES_A_REQUEST_MAY_PASS = 28


def _rooms() -> set[str]:
    return {
        path.stem
        for path in PACKAGE.iterdir()
        if path.name not in ("__init__.py", "__pycache__", "py.typed", "version.py")
    }


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z0-9_/]+\.py)`", TEXT))))
def test_every_file_named_exists(name: str) -> None:
    assert (PACKAGE / name).is_file()


def test_every_room_is_in_the_table_and_in_the_order() -> None:
    table = set(re.findall(r"`([a-z0-9_]+)`", TEXT.split("## One request")[0]))
    order = set(re.findall(r"[a-z0-9_]+", TEXT.split("```")[3]))
    assert _rooms() - table - {"__main__"} == set()
    assert _rooms() - order == set()
    assert order - _rooms() <= TO_COME


def test_the_order_is_the_one_that_is_checked() -> None:
    """The same layers, top to bottom, as the import contract."""
    contract = (ROOT / ".importlinter").read_text()
    layers = contract.split("layers =\n")[1].split("\n\n")[0]
    checked = [re.findall(r"[a-z0-9_]+", line) for line in layers.splitlines()]
    drawn = [re.findall(r"[a-z0-9_]+", part) for part in TEXT.split("```")[3].split(">")]
    assert [sorted(set(names) - {"version"}) for names in checked] == [sorted(n) for n in drawn]


def test_a_request_passes_through_few_files() -> None:
    rows = re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) <= MOST_FILES_A_REQUEST_MAY_PASS
