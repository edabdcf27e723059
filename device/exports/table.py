"""Results as one file: CSV, one JSON document, or JSON lines."""

import csv
import io
import json
from collections.abc import Sequence

from alledge.labels import LABELS
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

COLUMNS = ("sequence", "taken_at", "source", "verdict", "confidence", *(f"p_{label}" for label in LABELS), "coverage",
           "reasons", "engine", "bundle_id", "caveat", "faults", "sample", "note", "frame_sha256", "mask_sha256",
           "software", "boot_id", "uptime_s", "hash", "notice")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to a spreadsheet


def as_csv(rows: Sequence[Verdict]) -> bytes:
    """A header and one line per field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shares = {f"p_{label}": row.probabilities.get(label, "") for label in LABELS}
        plain = {**row.to_json(), **shares, "reasons": "; ".join(row.reasons), "faults": "; ".join(row.faults),
                 "notice": RESEARCH_USE_ONLY}
        writer.writerow({name: _cell(value) for name, value in plain.items()})
    return text.getvalue().encode()


def as_json(rows: Sequence[Verdict]) -> bytes:
    """One document: `notice` and `results`."""
    return json.dumps({"notice": RESEARCH_USE_ONLY, "results": [row.to_json() for row in rows]}, indent=1).encode()


def as_lines(rows: Sequence[Verdict]) -> bytes:
    """One JSON object a line, as the jsonl sink writes them."""
    return b"".join(json.dumps(row.to_json()).encode() + b"\n" for row in rows)


def _cell(value: object) -> object:
    """Text from outside (a file name, a note) must not become a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
