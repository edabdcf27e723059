"""Results as one file: CSV, one JSON document, or JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Iterator

from alledge.labels import LABELS
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

COLUMNS = ("sequence", "taken_at", "source", "verdict", "confidence", *(f"p_{label}" for label in LABELS), "coverage",
           "reasons", "engine", "bundle_id", "caveat", "faults", "sample", "note", "notes", "frame_sha256",
           "mask_sha256", "gates", "quality", "camera", "timings_ms", "software", "boot_id", "uptime_s", "hash",
           "notice")
_NAMED = ("gates", "quality", "camera", "timings_ms")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to a spreadsheet


def as_csv(rows: Iterable[Verdict]) -> Iterator[bytes]:
    """A header and one line per field; figures that have names of their own are JSON in one cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shares = {f"p_{label}": row.probabilities.get(label, "") for label in LABELS}
        named = {name: json.dumps(getattr(row, name)) for name in _NAMED}
        plain = {**row.to_json(), **shares, **named, "reasons": "; ".join(row.reasons),
                 "faults": "; ".join(row.faults), "notes": "; ".join(note.text for note in row.notes),
                 "notice": RESEARCH_USE_ONLY}
        writer.writerow({name: _cell(value) for name, value in plain.items()})
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def as_json(rows: Iterable[Verdict]) -> Iterator[bytes]:
    """One document: `notice` and `results`."""
    yield f'{{"notice": {json.dumps(RESEARCH_USE_ONLY)}, "results": ['.encode()
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n {json.dumps(row.to_json())}".encode()
    yield b"\n]}\n"


def as_lines(rows: Iterable[Verdict]) -> Iterator[bytes]:
    """One JSON object a line, as the jsonl sink writes them."""
    for row in rows:
        yield json.dumps(row.to_json()).encode() + b"\n"


def _cell(value: object) -> object:
    """Text from outside (a file name, a note) must not become a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
