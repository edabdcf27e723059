"""Operators' notes on results: rows of the same chain, so that one head pins both and what follows covers them.

A note has a number from the same count as results. It is never changed either; what was wrong is set right by another.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from pydantic import TypeAdapter

from alledge import __version__
from alledge.verdict import Note, Verdict

from . import chain
from .damage import damaged, held
from .links import Link, next_number, put, read_head
from .schema import VERSION, explained, open_for_writing
from .tables import NOTE_ON, transaction
from .uptime import boot_id, uptime

_NOTE = TypeAdapter(Note)


def add_note(path: Path, result: int, text: str) -> Note:
    """Append a note on a stored result, and return it once it is on disk. A daemon may be writing meanwhile.

    Args:
        path: of a database that has the result; one of an older version is copied and brought up to date first.
        text: as `alledge.note.check_note` gave it.

    Raises:
        SinkError: when it cannot be written.
    """
    database = open_for_writing(path)
    try:
        with explained(path), transaction(database):
            head = read_head(database)
            note = Note(next_number(database, head), result, text,
                        datetime.now(timezone.utc).isoformat(timespec="seconds"), __version__, boot_id(), uptime())
            body = chain.canonical({name: value for name, value in note.to_json().items() if name != "hash"})
            note = replace(note, hash=chain.link(head.hash, body))
            put(database, [(note.sequence, body, note.hash)])
    finally:
        database.close()
    return note


def is_note(row: Link) -> bool:
    """Else it should be a result."""
    plain = json.loads(row.body) if '"note_on":' in row.body else None
    return isinstance(plain, dict) and "note_on" in plain


def note_of(path: Path, row: Link) -> Note:
    """What a row says that is a note.

    Raises:
        SinkError: when it says it is another, or none.
    """
    try:
        note = _NOTE.validate_python({**json.loads(row.body), "hash": row.hash})
    except ValueError as error:
        raise damaged(path, row.sequence, error) from error
    if note.sequence != row.sequence or not 0 < note.note_on < note.sequence:
        raise damaged(path, row.sequence, f"it says it is note {note.sequence} on result {note.note_on}")
    return note


def noted(database: sqlite3.Connection, version: int) -> dict[int, list[int]]:
    """Number of each result that has notes -> their numbers, by the index; versions before 5 have none."""
    found: dict[int, list[int]] = {}
    if version == VERSION:
        # not ordered by sequence: SQLite would read all rows for that, and the index has a result's notes in order
        for number, result in database.execute(f"SELECT sequence, {NOTE_ON} FROM results WHERE {NOTE_ON} IS NOT NULL"):
            found.setdefault(result, []).append(number)
    return found


def attached(database: sqlite3.Connection, path: Path, row: Verdict, numbers: Sequence[int], checked: bool) -> Verdict:
    """A result with its notes, each held against its neighbours when `checked`.

    Raises:
        SinkError: when a note is not what was written.
    """
    if not numbers:
        return row
    return replace(row, notes=tuple(note_of(path, held(database, path, number, checked)) for number in numbers))
