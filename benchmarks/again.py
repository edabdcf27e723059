"""Does a second run say the same? Every ratio on the pages of two folders, side by side.

    python benchmarks/again.py FIRST SECOND [--band 0.2]

A ratio is a cell that begins with a number and an `x`; pages are paired by name, cells by their heading, their column
and what stands in their row before its first ratio, milliseconds apart. What was asked for, and a way held against
itself, do not count. Prints how far each page's ratios are apart and which are beyond the band; exit code 1 when there
is one, or none at all.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

RATIO = re.compile(r"\**(\d[\d,]*(?:\.\d+)?)x(?!\w)")
ASKED, ITSELF = "asked for", "1.00x (1.00-1.00)"


@dataclass(frozen=True)
class Place:
    """Where a ratio stands: page, heading, column and what its row is called."""

    page: str
    heading: str
    column: str
    row: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--band", type=float, default=0.2)
    given = parser.parse_args()
    first, second = (ratios(folder) for folder in (given.first, given.second))
    both = {place: second[place] / first[place] for place in first
            if first[place] and second.get(place)}
    if not both:
        sys.exit(f"{given.first} and {given.second} have no ratio in common: expected pages that `make bench` wrote")
    beyond = {place: change for place, change in both.items() if max(change, 1 / change) > 1 + given.band}
    for page in sorted({place.page for place in both}):
        there = [max(change, 1 / change) - 1 for place, change in both.items() if place.page == page]
        far = sum(place.page == page for place in beyond)
        print(f"{page}: {len(there)} ratios, {len(there) - far} within {given.band:.0%}, furthest {max(there):.0%}")
    for place in sorted(beyond, key=str):
        print(f"  {place.page}, {place.heading}: {place.row}, {place.column}: {first[place]:g}x, "
              f"then {second[place]:g}x")
    only = len(set(first) ^ set(second))
    print(f"{len(both) - len(beyond)} of {len(both)} ratios within {given.band:.0%}"
          + (f"; {only} stand in one folder only" if only else ""))
    return int(bool(beyond))


def ratios(folder: Path) -> dict[Place, float]:
    """All ratios of a folder's pages."""
    return {place: value for page in sorted(folder.glob("*.md")) for place, value in of_page(page)}


def of_page(page: Path) -> list[tuple[Place, float]]:
    found, heading, columns = [], "", list[str]()
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("#"):
            heading, columns = line.lstrip("# "), []
        elif not line.startswith("|"):
            columns = []
        elif not columns:
            columns = cells(line)
        else:
            row = cells(line)
            first = next((i for i, cell in enumerate(row) if RATIO.match(cell)), len(row))
            named = ", ".join(cell for column, cell in zip(columns[:first], row, strict=False)
                              if not column.endswith(" ms"))
            found += [(Place(page.name, heading, f"column {i + 1}, {column}", named), float(match[1].replace(",", "")))
                      for i, (column, cell) in enumerate(zip(columns, row, strict=False))
                      if column != ASKED and cell != ITSELF and (match := RATIO.match(cell))]
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


if __name__ == "__main__":
    raise SystemExit(main())
