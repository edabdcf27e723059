"""An online backup that was verified by reading it."""

from dataclasses import dataclass
from pathlib import Path

from alledge.errors import SinkError

from .copies import copy_database
from .links import Head
from .schema import explained
from .verification import Findings, verify


@dataclass(frozen=True)
class Backup:
    """Attributes: path: of the copy; made: False when it was there; rows, head: what it holds."""

    path: Path
    made: bool
    rows: int
    head: Head


def back_up(source: Path, out: Path) -> Backup:
    """Copy a database that may be in use, and read every page, row and link of the copy before it gets its name.

    Args:
        source: a results database.
        out: a file that is not there; or a folder (what has no suffix is one), in which the copy's name has the last
            number: clocks may be wrong.

    Raises:
        SinkError: when it cannot be made, or does not verify: a backup of altered rows would pass for a good one.
    """
    found = verify(source)
    if found.faults or found.head is None:
        raise SinkError(f"{out}: no backup was made, {source} does not verify: {found.faults[0]}")
    target = out / f"results-{found.head.sequence}.db" if out.is_dir() or not out.suffix else out
    if target != out and target.exists():
        return _there(target, found)
    copies: list[Findings] = []
    with explained(target, "backed up"):
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_database(source, target, lambda copy: copies.append(_verified(copy, target)))
    head = copies[0].head or found.head
    return Backup(target, True, copies[0].rows, head)


def _there(target: Path, source: Findings) -> Backup:
    """A timer comes round although nothing was added: the copy of last time, if it still is one."""
    found = _verified(target, target)
    if found.head is None or found.head != source.head:
        raise SinkError(f"{target}: is there and is the backup of another database; choose another folder")
    return Backup(target, False, found.rows, found.head)


def _verified(copy: Path, target: Path) -> Findings:
    found = verify(copy)
    if found.faults:
        raise SinkError(f"{target}: the copy does not verify: {found.faults[0]}")
    return found
