"""Rows as the chain has them: number, text, link. Put at its end, walked along it, held against their neighbours."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from . import chain


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


def read_head(database: sqlite3.Connection) -> Head:
    """The end of the chain as the database states it.

    Raises:
        ValueError: when it states none.
    """
    found = database.execute("SELECT sequence, hash FROM chain").fetchall()
    if len(found) != 1 or [type(value) for value in found[0]] != [int, str]:
        raise ValueError(f"the chain has {len(found)} heads: {found[:2]}")
    return Head(*found[0])


def next_number(database: sqlite3.Connection, head: Head) -> int:
    """The number after the highest that a row ever had."""
    return max(head.sequence, numbers_used(database)) + 1


def put(database: sqlite3.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    """Insert rows (number, body, link) that follow the chain's end, inside the caller's transaction."""
    database.executemany("INSERT INTO results (sequence, body, hash) VALUES (?, ?, ?)", rows)
    database.execute("UPDATE chain SET sequence = ?, hash = ?", (rows[-1][0], rows[-1][2]))


def walk(database: sqlite3.Connection, first: int = 1) -> Iterator[Link]:
    """The chain from row `first` on, each row held against the one before."""
    before = database.execute("SELECT hash FROM results WHERE sequence < ? ORDER BY sequence DESC LIMIT 1",
                              (first,)).fetchone()
    previous = start(database) if before is None else before[0]
    for sequence, body, link in database.execute("SELECT sequence, body, hash FROM results WHERE sequence >= ? "
                                                 "ORDER BY sequence", (first,)):
        yield Link(sequence, body, link, chain.link(previous, body) == link)
        previous = link


def beside(database: sqlite3.Connection, sequence: int) -> Link:
    """One row that is there, held against the one before it and the one after it, or the head when it is the last."""
    row, *following = islice(walk(database, sequence), 2)
    fits = following[0].holds if following else read_head(database) == Head(row.sequence, row.hash)
    return replace(row, holds=row.holds and fits)


def numbers_used(database: sqlite3.Connection) -> int:
    """The highest number a row ever had; rows that are gone count.

    Raises:
        ValueError: when the database's count is no number.
    """
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'results'").fetchone() or (0,)
    if not isinstance(found[0], int):
        raise ValueError(f"numbers are counted from {found[0]!r}")
    return found[0]


def start(database: sqlite3.Connection) -> str:
    """The link before the first row.

    Raises:
        ValueError: when the database states none.
    """
    found = database.execute("SELECT genesis FROM chain").fetchall()
    if len(found) != 1:
        raise ValueError(f"the chain has {len(found)} beginnings")
    return chain.seed(str(found[0][0]))
