"""Results in and out: appended at the chain's end, read along the chain or by the index of samples."""

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from alledge.errors import SinkError
from alledge.labels import TITLES
from alledge.verdict import Note, Verdict

from . import chain, legacy, notes
from .damage import altered, damaged, held
from .links import Link, next_number, put, read_head, walk
from .schema import CHAINED, open_for_reading
from .tables import NOTE_ON

_VERDICT = TypeAdapter(Verdict)


def append(database: sqlite3.Connection, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Insert results at the end, inside the caller's transaction, and return them as stored.

    The chain's end is read and written once for all: every statement lets another thread run, and waits for it.

    Raises:
        SinkError: when one is numbered and the number is used up, or holds a number that is not finite.
    """
    head = read_head(database)
    last, link = next_number(database, head) - 1, head.hash
    kept, found = list[Verdict](), list[tuple[int, str, str]]()
    for verdict in verdicts:
        if verdict.sequence and verdict.sequence <= last:
            raise SinkError(f"result {verdict.sequence} cannot follow result {last}: numbers ascend, each is used once")
        last = verdict.sequence or last + 1
        body = _body(replace(verdict, sequence=last))
        link = chain.link(link, body)
        kept.append(replace(verdict, sequence=last, hash=link))
        found.append((last, body, link))
    put(database, found)
    return kept


def body_of(verdict: Verdict) -> str:
    """What is hashed: all of a result but its link, and the notes that rows after it add."""
    plain = verdict.to_json()
    del plain["hash"], plain["notes"]
    return chain.canonical(plain)


def _body(verdict: Verdict) -> str:
    try:
        return body_of(verdict)
    except ValueError as error:
        raise SinkError(f"result {verdict.sequence} of {verdict.source!r} cannot be kept ({error})") from error


def read_results(path: Path, *, first: int = 1, until: int | None = None, last: int | None = None,
                 verdict: str | None = None, sample: str | None = None, checked: bool = True) -> Iterator[Verdict]:
    """Stored results with their notes in order of their sequence, only those asked for. Nothing is written.

    Args:
        path: of the database.
        first, until: numbers of the first and the last to read.
        last: only so many of them, the latest.
        verdict, sample: only those.
        checked: walk the chain from the first one read (to its head, unless `until` is set), so that no row is missing
            or altered unseen.

    Raises:
        SinkError: when there is none at that path, it is not one of ours, or what is read is not what was written.
    """
    with open_for_reading(path) as (database, version):
        known = notes.noted(database, version)
        if version < CHAINED:
            found: Iterator[Verdict] = (row for row in _unchained(database, path, version)
                                        if first <= row.sequence <= (until or row.sequence))
        else:
            if last is not None and verdict is None and sample is None:
                first = max(first, _sequence_from_end(database, last))
            marks = _marks(verdict=verdict, sample=sample) if checked else []
            found = _walked(database, path, first, until, checked, marks, {n for some in known.values() for n in some})
        found = (row for row in found if verdict in (None, row.verdict) and sample in (None, row.sample))
        for row in found if last is None else deque(found, maxlen=last):
            yield notes.attached(database, path, row, known.get(row.sequence, ()), checked)


def read_sample(path: Path, sample: str, checked: bool = True) -> Iterator[Verdict]:
    """The results of one sample, found by the index: each is held against its neighbours in the chain only.

    So a row that is gone from among them shows, and fields of a sample that are gone as a whole do not: reading all
    rows (`read_results`, verifying) tells. When none is found, all are read.

    Raises:
        SinkError: as `read_results`.
    """
    some = False
    with open_for_reading(path) as (database, version):
        if version >= CHAINED:
            known = notes.noted(database, version)
            for number, in database.execute("SELECT sequence FROM results WHERE sample = ? ORDER BY sequence",
                                            (sample,)):
                some = True
                row = verdict_of(path, held(database, path, number, checked))
                yield notes.attached(database, path, row, known.get(number, ()), checked)
    if not some:
        yield from read_results(path, sample=sample, checked=checked)


def read_result(path: Path, sequence: int, checked: bool = True) -> Verdict | None:
    """One result with its notes, held against its neighbours; None when there is none of that number.

    Raises:
        SinkError: as `read_results`.
    """
    with open_for_reading(path) as (database, version):
        if version < CHAINED:
            return next((row for row in _unchained(database, path, version) if row.sequence == sequence), None)
        if not database.execute("SELECT 1 FROM results WHERE sequence = ?", (sequence,)).fetchone():
            return None
        entry = entry_of(path, held(database, path, sequence, checked))
        if isinstance(entry, Note):
            return None
        return notes.attached(database, path, entry, notes.noted(database, version).get(sequence, ()), checked)


def samples_used(database: sqlite3.Connection, version: int) -> list[str]:
    """Ids of all samples that have a field; older databases know none."""
    if version < CHAINED:
        return []
    return [name for name, in database.execute("SELECT DISTINCT sample FROM results WHERE sample <> ''")]


def entry_of(path: Path, row: Link) -> Verdict | Note:
    """What a row of the database at `path` says.

    Raises:
        SinkError, ValueError: when it is neither a result nor a note, or says it is another.
    """
    return notes.note_of(path, row) if notes.is_note(row) else verdict_of(path, row)


def verdict_of(path: Path, row: Link) -> Verdict:
    """What a row says that is a result. Errors as `entry_of`."""
    plain = json.loads(row.body)
    return _verdict(path, row.sequence, {**plain, "hash": row.hash} if isinstance(plain, dict) else plain)


def _walked(database: sqlite3.Connection, path: Path, first: int, until: int | None, checked: bool,
            marks: Sequence[str], known: Set[int]) -> Iterator[Verdict]:
    """Results along the chain; of those without the marks in their text only the links are looked at.

    known: numbers of the notes by their index, which must have those that lie on the way.
    """
    row = None
    for row in walk(database, first):
        if until is not None and row.sequence > until:
            return
        if checked and not row.holds:
            raise altered(path, f"row {row.sequence} does not follow from what was written before it")
        if notes.is_note(row):
            if checked and row.sequence not in known:
                raise altered(path, f"note {row.sequence} is missing in the index")
        elif all(mark in row.body for mark in marks):
            yield verdict_of(path, row)
    if checked and until is None:
        _check_head(database, path, row)


def _check_head(database: sqlite3.Connection, path: Path, row: Link | None) -> None:
    """The last row read must be the last one written."""
    head = read_head(database)
    if row is not None and (row.sequence, row.hash) != (head.sequence, head.hash):
        raise altered(path, f"it ends at row {row.sequence}, and {head.sequence} was written")
    if row is None and database.execute("SELECT count(*) FROM results").fetchone()[0] == 0 and head.sequence:
        raise altered(path, f"it holds no row, and {head.sequence} was written")


def _marks(**values: str | None) -> list[str]:
    """What the canonical text of a result has when its figures are these."""
    return [f'"{name}":{json.dumps(value)}' for name, value in values.items() if value is not None]


def _unchained(database: sqlite3.Connection, path: Path, version: int) -> Iterator[Verdict]:
    return (_verdict(path, plain["sequence"], plain) for plain in legacy.rows(database, version))


def _verdict(path: Path, sequence: int, plain: object) -> Verdict:
    """What an older version did not have keeps its default; what a newer one added is left out."""
    try:
        verdict = _VERDICT.validate_python(plain)
    except ValueError as error:
        raise damaged(path, sequence, error) from error
    if verdict.sequence != sequence or not {verdict.verdict, *verdict.probabilities} <= set(TITLES):
        raise damaged(path, sequence, f"it says it is result {verdict.sequence}, {verdict.verdict!r} of "
                      f"{', '.join(verdict.probabilities)}")
    return verdict


def _sequence_from_end(database: sqlite3.Connection, last: int) -> int:
    """Number of the last-but-so-many result."""
    found = database.execute(f"SELECT min(sequence) FROM (SELECT sequence FROM results WHERE {NOTE_ON} IS NULL "
                             "ORDER BY sequence DESC LIMIT ?)", (last,)).fetchone()
    return int(found[0] or 1)
