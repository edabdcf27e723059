"""A copy of a database that is being written, read in full before it is called one."""

import glob
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from alledge.errors import SinkError
from alledge.files import sync_folder

_STEP = 256  # pages copied before the writer gets its turn again


def copy_database(source: Path, target: Path, check: Callable[[Path], None] = lambda copy: None) -> None:
    """Copy by SQLite's online backup, check the copy's every page, and only then give it its name.

    Args:
        source, target: databases; the source may be in use.
        check: raises what else is wrong with the copy.

    Raises:
        SinkError: when the target exists already, or the copy does not check.
        sqlite3.Error, OSError: when there is no room, or no right to write there.
    """
    if target.exists():
        raise SinkError(f"{target}: exists, and a copy is never overwritten; choose another name")
    _clear_leftovers(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with closing(sqlite3.connect(source)) as whole, closing(sqlite3.connect(partial)) as copy:
            whole.backup(copy, pages=_STEP)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, that a read-only medium can hold
            found = [row[0] for row in copy.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            raise SinkError(f"{target}: the copy of {source} does not check ({found[0]}): the source is damaged")
        check(partial)
        _to_disk(partial)
        partial.rename(target)
        sync_folder(target.absolute().parent)
    finally:
        for leftover in (partial, *partial.parent.glob(f"{partial.name}-*")):
            leftover.unlink(missing_ok=True)


def _clear_leftovers(target: Path) -> None:
    """What a process that was killed while it copied has left: a device that tries again and again would fill up."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*"):
        process = left.name.removeprefix(f".{target.name}.").partition("-")[0]
        if process.isdigit() and not _lives(int(process)):
            left.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
