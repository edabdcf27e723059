"""Results databases of older versions. They are read, and brought up to date on writing, after a copy was made.

Versions 1 to 3: a column per figure and no chain. Version 4: the rows of today without the indexes.
"""

import json
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from . import chain, tables
from .copies import copy_database

_COLUMNS = ("sequence", "taken_at", "verdict", "confidence", "probabilities", "reasons", "quality", "coverage",
            "timings_ms", "engine", "bundle_id", "source")
_ADDED = {"caveat": 2, "faults": 3}  # the version that brought a column
_JSON = ("probabilities", "reasons", "quality", "timings_ms", "faults")


def rows(database: sqlite3.Connection, version: int, table: str = "results") -> Iterator[dict[str, Any]]:
    """Stored results as plain types, oldest first."""
    columns = (*_COLUMNS, *(name for name, since in _ADDED.items() if version >= since))
    for row in database.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY sequence"):
        plain = dict(zip(columns, row, strict=True))
        yield {name: json.loads(value) if name in _JSON else value for name, value in plain.items()}


def migrate(database: sqlite3.Connection, path: Path, version: int) -> None:
    """Chain what there is, inside the caller's transaction, after a copy was put beside it: `results.db.v3.bak`.

    What happened to these rows before, the chain cannot know; its genesis tells how many they were.

    Raises:
        SinkError: when the copy does not check; nothing is changed then.
        sqlite3.Error, ValueError: when a row cannot be read; nothing is changed then either.
    """
    copy_database(path, _free_name(path, version))
    number = database.execute("SELECT count(*) FROM results").fetchone()[0]
    used = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'results'").fetchone() or (0,)
    database.execute("ALTER TABLE results RENAME TO results_before")
    genesis = chain.genesis(migrated_from=version, rows=number)
    tables.create(database, genesis)
    head, sequence = chain.seed(genesis), 0
    for plain in rows(database, version, "results_before"):
        body, sequence = chain.canonical(plain), plain["sequence"]
        head = chain.link(head, body)
        database.execute("INSERT INTO results (sequence, body, hash) VALUES (?, ?, ?)", (sequence, body, head))
    database.execute("UPDATE chain SET sequence = ?, hash = ?", (sequence, head))
    database.execute("DROP TABLE results_before")
    database.execute("DELETE FROM sqlite_sequence")
    database.execute("INSERT INTO sqlite_sequence VALUES ('results', ?)", used)


def add_indexes(database: sqlite3.Connection, path: Path, version: int) -> None:
    """What version 4 lacks, inside the caller's transaction, after a copy was put beside it. No row is touched.

    Raises:
        SinkError, sqlite3.Error: as `migrate`; nothing is changed then.
    """
    copy_database(path, _free_name(path, version))
    tables.create_indexes(database)


def _free_name(path: Path, version: int) -> Path:
    """A migration that was interrupted has left its copy; it stays."""
    names = (path.with_name(f"{path.name}.v{version}{f'.{n}' if n else ''}.bak") for n in count())
    return next(name for name in names if not name.exists())
