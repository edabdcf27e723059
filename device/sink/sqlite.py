"""Results in an SQLite database: one row per field, nothing acknowledged is lost when the power goes.

Write-ahead log with synchronous=FULL, because NORMAL loses committed rows in a power cut (measured: 80 of 170).
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from alledge.errors import SinkError
from alledge.verdict import Verdict

VERSION = 3  # PRAGMA user_version of the table below
BUSY_MS = 5000  # how long to wait for another process that is writing

_SCHEMA = """
CREATE TABLE results (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, not even after rows are deleted
  taken_at TEXT NOT NULL,
  verdict TEXT NOT NULL,
  confidence REAL NOT NULL,
  probabilities TEXT NOT NULL,
  reasons TEXT NOT NULL,
  quality TEXT NOT NULL,
  coverage REAL NOT NULL,
  timings_ms TEXT NOT NULL,
  engine TEXT NOT NULL,
  bundle_id TEXT NOT NULL,
  source TEXT NOT NULL,
  caveat TEXT NOT NULL DEFAULT '',
  faults TEXT NOT NULL DEFAULT '[]'
)
"""
_ADDED = {  # the version that brought a column, and how an older table gets it
    "caveat": (2, "ALTER TABLE results ADD COLUMN caveat TEXT NOT NULL DEFAULT ''"),
    "faults": (3, "ALTER TABLE results ADD COLUMN faults TEXT NOT NULL DEFAULT '[]'"),
}
_JSON = ("probabilities", "reasons", "quality", "timings_ms", "faults")
_COLUMNS = tuple(f.name for f in fields(Verdict))
_INSERT = f"INSERT INTO results ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def create(path: Path) -> "SqliteSink":
    """Open or make a results database.

    Raises:
        SinkError: when the path is read-only, full, not a database, or a database of something else.
    """
    return SqliteSink(path)


class SqliteSink:
    """One connection that writes, one transaction a field."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("BEGIN IMMEDIATE")  # two that start together must not both make the table
        version = _version(self._database, self._path)
        if version < VERSION:
            missing = [change for since, change in _ADDED.values() if version < since]
            for change in [_SCHEMA] if version == 0 else missing:
                self._database.execute(change)
            self._database.execute(f"PRAGMA user_version={VERSION}")
        self._database.execute("COMMIT")

    def write(self, verdict: Verdict) -> Verdict:
        """Insert one row in a transaction of its own."""
        plain = verdict.to_json()
        row = [json.dumps(plain[c]) if c in _JSON else plain[c] for c in _COLUMNS]
        row[_COLUMNS.index("sequence")] = verdict.sequence or None
        with _explained(self._path):
            cursor = self._database.execute(_INSERT, row)
        return replace(verdict, sequence=int(cursor.lastrowid or 0))

    def close(self) -> None:
        """Fold the write-ahead log into the database and close it."""
        with _explained(self._path):
            self._database.close()


def read_results(path: Path, *, sequence: int | None = None, verdict: str | None = None,
                 last: int | None = None) -> Iterator[Verdict]:
    """Stored results in order of their sequence, only those asked for. Nothing is written.

    Args:
        path: of the database.
        sequence, verdict: only the one of this number, only those of this verdict.
        last: only so many of them, the latest.

    Raises:
        SinkError: when there is none at that path, or it is not one of ours.
    """
    if not os.path.isfile(path):
        raise SinkError(f"{path}: expected a results database written by `alledge run`, found none")
    with _explained(path), closing(sqlite3.connect(_reading(path), uri=True)) as database:
        database.execute("PRAGMA query_only=ON")
        version = _version(database, path)
        if version == 0:
            return
        columns = tuple(c for c in _COLUMNS if _ADDED.get(c, (1, ""))[0] <= version)
        for row in _rows(database, columns, {"sequence": sequence, "verdict": verdict}, last):
            yield _verdict(dict(zip(columns, row, strict=True)))


def _rows(database: sqlite3.Connection, columns: tuple[str, ...], asked: dict[str, Any],
          last: int | None) -> Iterable[tuple[Any, ...]]:
    """Rows whose columns equal what is `asked` (None for any), oldest first."""
    where = " AND ".join(f"{column} = :{column}" for column, value in asked.items() if value is not None)
    query = f"SELECT {', '.join(columns)} FROM results {where and 'WHERE'} {where} ORDER BY sequence"
    if last is None:
        return database.execute(query, asked)
    return reversed(database.execute(f"{query} DESC LIMIT :last", {**asked, "last": last}).fetchall())


def _reading(path: Path) -> str:
    """The URI to read a database by, also from a card or folder that may not be written.

    Where writing is allowed it is opened for writing and only read: a read-only connection would leave its -wal and
    -shm files lying about. Elsewhere `immutable` spares SQLite making them, unless there are rows in them.
    """
    way = "mode=rw"
    if not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)):
        way = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
    return f"{path.absolute().as_uri()}?{way}"


def _verdict(row: dict[str, Any]) -> Verdict:
    parsed = {column: json.loads(row[column]) for column in _JSON if column in row}
    lists = {column: tuple(parsed[column]) for column in ("reasons", "faults") if column in parsed}
    return Verdict(**{**row, **parsed, **lists})


def _version(database: sqlite3.Connection, path: Path) -> int:
    """0 for an empty database, else `VERSION`; anything else is refused."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    tables = int(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if version > VERSION:
        raise SinkError(f"{path}: results database of version {version}, this alledge knows up to {VERSION}; update it")
    if version == 0 and tables:
        raise SinkError(f"{path}: a database, but not one of results; choose another file")
    return version


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into one sentence."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, SinkError):
            raise
        raise SinkError(f"{path}: results cannot be kept there ({error}); choose a database file in a folder with "
                        "room that you own") from error
    except ValueError as error:
        raise SinkError(f"{path}: a row of this results database is damaged ({error})") from error
