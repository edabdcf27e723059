"""How a results database is opened: for writing (made, brought up to date) or for reading (left alone)."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alledge.errors import SinkError
from alledge.files import make_folder

from . import chain, legacy, tables

VERSION = 5  # PRAGMA user_version; 1 to 3 were without a chain (`legacy`)
CHAINED = 4  # from here on rows are what they are now; version 4 knew no notes and had no index
BUSY_MS = 5000  # how long to wait for another process that is writing


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open or make a database. The write-ahead log is synchronous=FULL: NORMAL loses committed rows in a power cut
    (measured: 80 of 170).

    Raises:
        SinkError: when the path is read-only, full, not a database, or a database of something else.
    """
    with explained(path):
        make_folder(path.parent)
        database = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            with tables.transaction(database):  # two that start together must not both make the tables
                _bring_up_to_date(database, path)
        except BaseException:
            database.close()
            raise
    return database


def _bring_up_to_date(database: sqlite3.Connection, path: Path) -> None:
    version = version_of(database, path)
    if version == VERSION:
        return
    if version == 0:
        tables.create(database, chain.genesis())
    elif version < CHAINED:
        legacy.migrate(database, path, version)
    else:
        legacy.add_indexes(database, path, version)
    database.execute(f"PRAGMA user_version={VERSION}")


def outdated(path: Path) -> bool:
    """Whether opening it for writing would copy it first; False for what cannot be read."""
    try:
        with open_for_reading(path) as (_, version):
            return version < VERSION
    except SinkError:
        return False


@contextmanager
def open_for_reading(path: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A connection that sees one moment of the database, and the database's version. Nothing is written.

    Raises:
        SinkError: when there is none at that path, it is empty, damaged, or not one of ours.
    """
    if not os.path.isfile(path):
        raise SinkError(f"{path}: expected a results database written by `alledge run`, found none")
    with explained(path, "read"), closing(sqlite3.connect(_reading(path), uri=True, isolation_level=None)) as database:
        database.execute("PRAGMA query_only=ON")
        database.execute("BEGIN")
        version = version_of(database, path)
        if version == 0:
            raise SinkError(f"{path}: expected a results database, received an empty one: it never held a result, or "
                            "lost all it held; look for a backup")
        yield database, version


def _reading(path: Path) -> str:
    """The URI to read a database by, also from a card or folder that may not be written.

    Where writing is allowed it is opened for writing and only read: a read-only connection would leave its -wal and
    -shm files lying about. Elsewhere `immutable` spares SQLite making them, unless there are rows in them.
    """
    way = "mode=rw"
    if not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)):
        way = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
    return f"{path.absolute().as_uri()}?{way}"


def version_of(database: sqlite3.Connection, path: Path) -> int:
    """0 for an empty database, else up to `VERSION`; anything else is refused.

    Raises:
        SinkError: for a newer database, or one of something else.
    """
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version > VERSION:
        raise SinkError(f"{path}: results database of version {version}, this alledge knows up to {VERSION}; update "
                        "it, or begin a new file")
    if version < 0 or (version == 0 and there) or (version and "results" not in there):
        raise SinkError(f"{path}: a database, but not one of results; choose another file")
    return version


@contextmanager
def explained(path: Path, done: str = "kept") -> Iterator[None]:
    """Turn what SQLite and the system say into one sentence; `done`: what cannot be done with results there."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OSError) as error:
        if isinstance(error, SinkError):
            raise
        said = getattr(error, "strerror", None) or str(error)  # the system's has a number and the path in it
        raise SinkError(f"{path}: results cannot be {done} there ({' '.join(said.split())}); "
                        f"{_way_out(error)}") from error
    except ValueError as error:
        raise SinkError(f"{path}: a row of this results database is damaged ({' '.join(str(error).split())}); a "
                        "backup has what was written") from error


def _way_out(error: Exception) -> str:
    damage = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    if damage or "malformed" in str(error):  # a row that is no JSON, too
        return "the file is damaged or something else: use a backup, and begin a new file"
    if "full" in str(error):
        return "free space there, it goes on by itself"
    return "choose a database file in a folder with room that you own"
