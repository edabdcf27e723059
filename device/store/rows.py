"""Rows in and out: appended at the chain's end, read along the chain."""

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from alledge.errors import SinkError
from alledge.labels import TITLES
from alledge.verdict import Verdict

from . import chain, legacy
from .schema import VERSION, open_for_reading

_VERDICT = TypeAdapter(Verdict)


@dataclass(frozen=True)
class Head:
    """The end of a chain: number and link of the last row (0 and the genesis' SHA-256 when there is none)."""

    sequence: int
    hash: str


@dataclass(frozen=True)
class Link:
    """One row as stored. holds: whether its link is the one that follows from the row before."""

    sequence: int
    body: str
    hash: str
    holds: bool


def append(database: sqlite3.Connection, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Insert results at the end, inside the caller's transaction, and return them as stored.

    The chain's end is read and written once for all: every statement lets another thread run, and waits for it.

    Raises:
        SinkError: when one is numbered and the number is used up, or holds a number that is not finite.
    """
    head = read_head(database)
    last, link = max(head.sequence, numbers_used(database)), head.hash
    kept, found = list[Verdict](), list[tuple[int, str, str]]()
    for verdict in verdicts:
        if verdict.sequence and verdict.sequence <= last:
            raise SinkError(f"result {verdict.sequence} cannot follow result {last}: numbers ascend, each is used once")
        last = verdict.sequence or last + 1
        body = _body(replace(verdict, sequence=last))
        link = chain.link(link, body)
        kept.append(replace(verdict, sequence=last, hash=link))
        found.append((last, body, link))
    database.executemany("INSERT INTO results (sequence, body, hash) VALUES (?, ?, ?)", found)
    database.execute("UPDATE chain SET sequence = ?, hash = ?", (last, link))
    return kept


def body_of(verdict: Verdict) -> str:
    """What is hashed: all of a result but its link."""
    plain = verdict.to_json()
    del plain["hash"]
    return chain.canonical(plain)


def _body(verdict: Verdict) -> str:
    try:
        return body_of(verdict)
    except ValueError as error:
        raise SinkError(f"result {verdict.sequence} of {verdict.source!r} cannot be kept ({error})") from error


def read_head(database: sqlite3.Connection) -> Head:
    """The end of the chain as the database states it.

    Raises:
        ValueError: when it states none.
    """
    found = database.execute("SELECT sequence, hash FROM chain").fetchall()
    if len(found) != 1 or [type(value) for value in found[0]] != [int, str]:
        raise ValueError(f"the chain has {len(found)} heads: {found[:2]}")
    return Head(*found[0])


def read_results(path: Path, *, first: int = 1, until: int | None = None, last: int | None = None,
                 verdict: str | None = None, sample: str | None = None, checked: bool = True) -> Iterator[Verdict]:
    """Stored results in order of their sequence, only those asked for. Nothing is written.

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
        unfiltered = last is not None and verdict is None and sample is None
        if unfiltered and last is not None and version == VERSION:
            first = max(first, _sequence_from_end(database, last))
        rows = _read(database, path, version, first, until, checked)
        found = (row for row in rows if verdict in (None, row.verdict) and sample in (None, row.sample))
        yield from found if last is None else deque(found, maxlen=last)


def walk(database: sqlite3.Connection, first: int = 1) -> Iterator[Link]:
    """The chain from row `first` on, each row held against the one before."""
    before = database.execute("SELECT hash FROM results WHERE sequence < ? ORDER BY sequence DESC LIMIT 1",
                              (first,)).fetchone()
    previous = start(database) if before is None else before[0]
    for sequence, body, link in database.execute("SELECT sequence, body, hash FROM results WHERE sequence >= ? "
                                                 "ORDER BY sequence", (first,)):
        yield Link(sequence, body, link, chain.link(previous, body) == link)
        previous = link


def numbers_used(database: sqlite3.Connection) -> int:
    """The highest number a row ever had; rows that are gone count.

    Raises:
        ValueError: when the database's count is no number.
    """
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'results'").fetchone() or (0,)
    if not isinstance(found[0], int):
        raise ValueError(f"numbers are counted from {found[0]!r}")
    return found[0]


def samples_used(database: sqlite3.Connection, version: int) -> list[str]:
    """Ids of all samples that have a field; older databases know none."""
    if version != VERSION:
        return []
    return [name for name, in database.execute("SELECT DISTINCT sample FROM results WHERE sample <> ''")]


def start(database: sqlite3.Connection) -> str:
    """The link before the first row.

    Raises:
        ValueError: when the database states none.
    """
    found = database.execute("SELECT genesis FROM chain").fetchall()
    if len(found) != 1:
        raise ValueError(f"the chain has {len(found)} beginnings")
    return chain.seed(str(found[0][0]))


def verdict_of(path: Path, row: Link) -> Verdict:
    """What a row of the database at `path` says.

    Raises:
        SinkError, ValueError: when it is no result, or says it is another.
    """
    plain = json.loads(row.body)
    return _verdict(path, row.sequence, {**plain, "hash": row.hash} if isinstance(plain, dict) else plain)


def _read(database: sqlite3.Connection, path: Path, version: int, first: int, until: int | None,
          checked: bool) -> Iterator[Verdict]:
    if version < VERSION:  # these have no chain
        for plain in legacy.rows(database, version):
            if first <= plain["sequence"] <= (until or plain["sequence"]):
                yield _verdict(path, plain["sequence"], plain)
        return
    row = None
    for row in walk(database, first):
        if until is not None and row.sequence > until:
            return
        if checked and not row.holds:
            raise _broken(path, f"result {row.sequence} does not follow from what was written before it")
        yield verdict_of(path, row)
    if checked and until is None:
        _check_head(database, path, row)


def _check_head(database: sqlite3.Connection, path: Path, row: Link | None) -> None:
    """The last row read must be the last one written."""
    head = read_head(database)
    if row is not None and (row.sequence, row.hash) != (head.sequence, head.hash):
        raise _broken(path, f"it ends at result {row.sequence}, and {head.sequence} was written")
    if row is None and database.execute("SELECT count(*) FROM results").fetchone()[0] == 0 and head.sequence:
        raise _broken(path, f"it holds no result, and {head.sequence} was written")


def _broken(path: Path, what: str) -> SinkError:
    return SinkError(f"{path}: {what}: the database was altered or damaged; `alledge results verify` tells more, a "
                     "backup has what was written, --unverified reads this one as it is")


def _verdict(path: Path, sequence: int, plain: object) -> Verdict:
    """What an older version did not have keeps its default; what a newer one added is left out."""
    try:
        verdict = _VERDICT.validate_python(plain)
    except ValueError as error:
        raise SinkError(f"{path}: row {sequence} of this results database is damaged ({_first_line(error)}); a backup "
                        "has what was written") from error
    if verdict.sequence != sequence or not {verdict.verdict, *verdict.probabilities} <= set(TITLES):
        raise SinkError(f"{path}: row {sequence} of this results database is damaged (it says it is result "
                        f"{verdict.sequence}, {verdict.verdict!r} of {', '.join(verdict.probabilities)}); a backup has "
                        "what was written")
    return verdict


def _first_line(error: ValueError) -> str:
    """A `ValidationError` of pydantic is a page."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _sequence_from_end(database: sqlite3.Connection, last: int) -> int:
    """Number of the last-but-so-many row."""
    found = database.execute("SELECT min(sequence) FROM (SELECT sequence FROM results ORDER BY sequence DESC LIMIT ?)",
                             (last,)).fetchone()
    return int(found[0] or 1)
