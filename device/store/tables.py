"""The two tables, since version 4, the indexes of version 5, and a transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from . import chain

RESULTS = """CREATE TABLE results (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending; never reused
  body TEXT NOT NULL,                          -- the whole result, canonical JSON
  hash TEXT NOT NULL,                          -- SHA-256(hash before, newline, body)
  verdict TEXT GENERATED ALWAYS AS (json_extract(body, '$.verdict')),
  sample TEXT GENERATED ALWAYS AS (json_extract(body, '$.sample')),
  taken_at TEXT GENERATED ALWAYS AS (json_extract(body, '$.taken_at'))
)"""
CHAIN = """CREATE TABLE chain (
  genesis TEXT NOT NULL,                       -- its SHA-256 comes before the first row's hash
  sequence INTEGER NOT NULL,                   -- of the last row
  hash TEXT NOT NULL                           -- of the last row
)"""
NOTE_ON = "json_extract(body, '$.note_on')"  # the number of the result; NULL for results themselves
INDEXES = {"samples": "CREATE INDEX samples ON results (sample)",
           "notes": f"CREATE INDEX notes ON results ({NOTE_ON}) WHERE {NOTE_ON} IS NOT NULL"}


def create(database: sqlite3.Connection, genesis: str) -> None:
    """An empty table and the start of its chain."""
    database.execute(RESULTS)
    database.execute(CHAIN)
    create_indexes(database)
    database.execute("INSERT INTO chain VALUES (?, 0, ?)", (genesis, chain.seed(genesis)))


def create_indexes(database: sqlite3.Connection) -> None:
    """By which the fields of a sample, and the notes on a result, are found without reading all rows."""
    for index in INDEXES.values():
        database.execute(index)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, with the lock taken at once."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some faults of the disk have ended it already
            database.execute("ROLLBACK")
        raise
