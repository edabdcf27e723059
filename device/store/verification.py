"""Does a database still hold what was written? The chain, the tables themselves, and heads that were kept elsewhere."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alledge.errors import SinkError

from . import tables
from .links import Head, Link, numbers_used, read_head, start, walk
from .rows import entry_of
from .schema import CHAINED, VERSION, open_for_reading

_TOLD = 20  # faults that are spelled out; one damaged page can make thousands


@dataclass(frozen=True)
class Findings:
    """What verifying came to.

    Attributes:
        rows: how many there are.
        head: the end of the chain; None when the database states none.
        witnessed: how many of the heads kept elsewhere were found again.
        faults: what is wrong, a sentence each; empty when every row is what was written, and none is missing that was
            there when the last witness was made.
    """

    rows: int
    head: Head | None
    witnessed: int
    faults: tuple[str, ...]


def verify(path: Path, witnesses: Sequence[Head] = ()) -> Findings:
    """Read all of a database.

    Args:
        path: of the database.
        witnesses: rows as they were told elsewhere (an exported head, JSON lines, a broker).

    Raises:
        SinkError: when it cannot be read at all, or is of a version without a chain.
    """
    with open_for_reading(path) as (database, version):
        if version < CHAINED:
            raise SinkError(f"{path}: results database of version {version}, which has no chain to verify; "
                            "`alledge run` copies it and brings it up to date")
        return _examine(database, path, version, witnesses)


def _examine(database: sqlite3.Connection, path: Path, version: int, witnesses: Sequence[Head]) -> Findings:
    faults = [*_pages(database), *_tables(database, version)]
    known = {witness.sequence: "" for witness in witnesses}
    last, count = None, 0
    try:
        for last in walk(database):
            count += 1
            if last.sequence in known:
                known[last.sequence] = last.hash
            faults += _row_faults(path, last)
        head = read_head(database)
        faults += _head_faults(database, last, head)
    except (sqlite3.Error, ValueError, TypeError) as error:
        faults.append(f"the rows after number {last.sequence if last else 0} cannot be read ({error})")
        head = None
    lost = [w for w in witnesses if known[w.sequence] != w.hash]
    faults += [f"row {w.sequence} {'is another' if known[w.sequence] else 'is gone'}: its witness says {w.hash}"
               for w in lost]
    told = (*faults[:_TOLD], *([f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []))
    return Findings(count, head, len(witnesses) - len(lost), told)


def _pages(database: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file."""
    found = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    return [] if found == ["ok"] else [f"the file is damaged: {' '.join(line.split())}" for line in found]


def _tables(database: sqlite3.Connection, version: int) -> list[str]:
    """A view or trigger could show rows that were never stored, another index hide some."""
    wanted = {"results": tables.RESULTS, "chain": tables.CHAIN, **(tables.INDEXES if version == VERSION else {})}
    found = {name: text for name, text in database.execute("SELECT name, sql FROM sqlite_master") if
             not str(name).startswith("sqlite_")}
    return [f"{name} is not as this software makes it" for name in sorted({*wanted, *found})
            if wanted.get(name) != found.get(name)]


def _row_faults(path: Path, row: Link) -> Iterator[str]:
    if not row.holds:
        yield f"row {row.sequence} does not follow from what was written before it"
        return
    try:
        entry_of(path, row)
    except (SinkError, ValueError) as error:
        yield str(error)


def _head_faults(database: sqlite3.Connection, last: Link | None, head: Head) -> Iterator[str]:
    end = (last.sequence, last.hash) if last else (0, start(database))
    if end != (head.sequence, head.hash):
        yield f"it ends at row {end[0]}, and row {head.sequence} was the last written"
    used = numbers_used(database)
    if used < head.sequence:
        yield f"numbers are counted from {used}, and row {head.sequence} was written"
