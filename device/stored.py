"""Questions to the results database: which fields, one field, all of them as a file."""

import csv
import io
import json
from pathlib import Path

from alledge.errors import UsageError
from alledge.files import write_bytes
from alledge.labels import INCONCLUSIVE, LABELS
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

from .store.rows import read_results

COLUMNS = ("sequence", "taken_at", "source", "verdict", "confidence", *(f"p_{label}" for label in LABELS), "coverage",
           "reasons", "engine", "bundle_id", "caveat", "faults", "notice")
_FORMATS = (".csv", ".json")


def select(database: Path, verdict: str | None = None, last: int | None = None, checked: bool = True) -> list[Verdict]:
    """Stored results in order of their sequence, optionally of one verdict, optionally only the last few.

    Raises:
        UsageError: for a verdict that does not exist.
        SinkError: when the database cannot be read.
    """
    if verdict is not None and verdict not in (*LABELS, INCONCLUSIVE):
        raise UsageError(f"verdict {verdict!r} is unknown: expected one of {', '.join((*LABELS, INCONCLUSIVE))}")
    return list(read_results(database, verdict=verdict, last=last, checked=checked))


def find(database: Path, sequence: int, checked: bool = True) -> Verdict:
    """One stored result.

    Raises:
        UsageError: when there is none of that number.
        SinkError: when the database cannot be read.
    """
    for row in read_results(database, first=sequence, until=sequence, checked=checked):
        return row
    raise UsageError(f"{database}: holds no result {sequence}; `alledge results list` shows which it holds")


def export(database: Path, out: Path) -> int:
    """Write all results to FILE.csv or FILE.json, whole or not at all; returns how many.

    Raises:
        UsageError: for another suffix.
        SinkError: when the database cannot be read.
    """
    if out.suffix not in _FORMATS:
        raise UsageError(f"{out}: expected a file name that ends in {' or '.join(_FORMATS)}")
    rows = select(database)
    document = {"notice": RESEARCH_USE_ONLY, "results": [row.to_json() for row in rows]}
    write_bytes(out, _table(rows) if out.suffix == ".csv" else json.dumps(document, indent=1).encode())
    return len(rows)


def _table(rows: list[Verdict]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        shares = [row.probabilities.get(label, "") for label in LABELS]
        writer.writerow([row.sequence, row.taken_at, row.source, row.verdict, row.confidence, *shares, row.coverage,
                         "; ".join(row.reasons), row.engine, row.bundle_id, row.caveat,
                         "; ".join(row.faults), RESEARCH_USE_ONLY])
    return text.getvalue().encode()
