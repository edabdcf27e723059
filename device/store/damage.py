"""What is said of rows that are not what was written."""

import sqlite3
from pathlib import Path

from pydantic import ValidationError

from alledge.errors import SinkError

from .links import Link, beside


def held(database: sqlite3.Connection, path: Path, sequence: int, checked: bool) -> Link:
    """A row that is there and, when `checked`, follows from the one before it as the next does from it.

    Raises:
        SinkError: when it does not.
    """
    row = beside(database, sequence)
    if checked and not row.holds:
        raise altered(path, f"row {sequence} and those beside it do not follow from each other")
    return row


def altered(path: Path, what: str) -> SinkError:
    """For rows that do not follow from each other."""
    return SinkError(f"{path}: {what}: the database was altered or damaged; `alledge results verify` tells more, a "
                     "backup has what was written, --unverified reads this one as it is")


def damaged(path: Path, sequence: int, why: ValueError | str) -> SinkError:
    """For a row that does not say what it should."""
    return SinkError(f"{path}: row {sequence} of this results database is damaged ({_first_line(why)}); a backup has "
                     "what was written")


def _first_line(why: ValueError | str) -> str:
    """A `ValidationError` of pydantic is a page."""
    if isinstance(why, ValidationError):
        first = why.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(why)
