"""docs/hazards.md: every hazard has a control, and every proof that it or another page names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HAZARDS = ROOT / "docs" / "hazards.md"
COLUMNS = ["no.", "hazard", "sequence of events", "hazardous situation", "harm", "control", "proof"]
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@cache
def functions(path: Path) -> frozenset[str]:
    return frozenset(node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef))


def rows() -> list[list[str]]:
    """Cells of the tables, without their heads."""
    lines = [line for line in HAZARDS.read_text("utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_hazard_is_told_whole_and_has_a_test() -> None:
    table = [row for row in rows() if row != COLUMNS and set(row[0]) != {"-"}]
    assert len(table) > 20
    assert len({row[0] for row in table}) == len(table)
    for row in table:
        assert len(row) == len(COLUMNS), row
        assert all(row), row
        assert set(row[4].split(", ")) <= {"M", "F", "R", "P"}, row
        assert any(function for _, function in _TEST.findall(row[6])), f"{row[0]} names no test that would fail"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    for path, function in _TEST.findall(document.read_text("utf-8")):
        assert (ROOT / path).is_file(), f"{document.name} names {path}"
        assert not function or function in functions(ROOT / path), f"{document.name} names {path}::{function}"


def test_what_is_left_is_told_and_the_intended_use_leads_there() -> None:
    text = HAZARDS.read_text("utf-8")
    assert "No clinical validation" in text
    assert "not a risk management file" in text
    figure = re.search(r"twice as dark all (\d+) wrong verdicts of (\d+) are refused", text)
    assert figure
    row = rf"\| darker stain \| 2 times \|[^|]*\| {figure[2]} \| {figure[1]} \| \d+ \| 0 \|"
    assert re.search(row, (ROOT / "docs" / "results" / "quality.md").read_text("utf-8"))
    assert "docs/hazards.md" in (ROOT / "INTENDED_USE.md").read_text("utf-8")
