"""What happened to the installed models: lines of JSON chained by hash. The last one is how things are.

One file for both, so that nothing can happen without being told and nothing be told that did not happen. It is replaced
as a whole, flushed, and its folder too: after a power cut there is the old state or the new one. Decision 017.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from alledge.errors import OutputError
from alledge.files import make_folder, sync_folder, write_bytes

from .camera import now
from .store import chain

Slot = Literal["a", "b"]
Trial = Literal["", "automatic", "manual"]
LOG = "log.jsonl"
_SEED = chain.seed("alledge models")
_LONGEST = 600  # characters of a reason


@dataclass(frozen=True)
class State:
    """Which slot is run.

    Attributes:
        active: the slot to run; "" for none, which leaves it to the configuration.
        fallback: what a rollback goes to: a slot, or "" likewise.
        trial: "" when the active one was committed; else whether its health check commits it, or only a person.
        checked: whether the health check of the one on trial held.
        starts_left: how often a trial may still be started.
        ids: slot -> id of the whole bundle in it.
    """

    active: Slot | Literal[""] = ""
    fallback: Slot | Literal[""] = ""
    trial: Trial = ""
    checked: bool = False
    starts_left: int = 0
    ids: Mapping[Slot, str] = field(default_factory=dict)

    @property
    def runs(self) -> str:
        """The slot that a device runs by itself: not what is on trial before its health check was made."""
        return self.fallback if self.trial and not self.checked else self.active

    @property
    def id(self) -> str:
        """Of the bundle that is run; "" when that is not known."""
        return next((identity for slot, identity in self.ids.items() if slot == self.active), "")


@dataclass(frozen=True)
class Record:
    """One line. number: from 1; at: wall clock, which may be wrong; event: one of `slots`; detail: why, of what."""

    number: int
    at: str
    event: str
    detail: str
    state: State


@dataclass(frozen=True)
class Log:
    """All lines that are what was written, the end of the chain, and a sentence for everything that is not."""

    records: tuple[Record, ...] = ()
    head: str = _SEED
    faults: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """How things are. A damaged line costs what it said; the last whole one counts."""
        return self.records[-1].state if self.records else State()


_RECORD = TypeAdapter(Record)


def read(folder: Path) -> Log:
    """Read and verify the log in a folder of models; without one, nothing ever happened.

    Raises:
        OutputError: when it is there and cannot be read.
    """
    path = folder / LOG
    records: list[Record] = []
    faults, head = [], _SEED
    for number, line in enumerate(_content(path).splitlines(), 1):
        found = _parsed(line)
        if found is None:
            faults.append(f"{path}: line {number} is damaged or was altered")
            continue
        record, previous, link = found
        if previous != head:
            faults.append(f"{path}: line {number} does not follow from what was written before it")
        records.append(record)
        head = link
    return Log(tuple(records), head, tuple(faults))


def append(folder: Path, event: str, detail: str, state: State) -> None:
    """Make a state the current one, and tell why. When this returns, both are on disk.

    Raises:
        OutputError: when they are not; everything is then as it was.
    """
    log, path = read(folder), folder / LOG
    record = Record((log.records[-1].number if log.records else 0) + 1, now(), event, detail[:_LONGEST], state)
    body = asdict(record)
    link = chain.link(log.head, chain.canonical(body))
    before = _content(path)
    before += b"\n" if before and not before.endswith(b"\n") else b""
    try:
        make_folder(folder)
        write_bytes(path, before + chain.canonical({"body": body, "previous": log.head, "hash": link}).encode() + b"\n")
        sync_folder(folder)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose a folder with room that you own") \
            from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise OutputError(f"{path}: what is installed cannot be read ({error.strerror}); run `alledge model` as the "
                          "user who runs the device") from error


def _parsed(line: bytes) -> tuple[Record, str, str] | None:
    """Record, link before and own link of a line that is whole."""
    try:
        plain: Any = json.loads(line)
        body, previous, link = plain["body"], str(plain["previous"]), str(plain["hash"])
        if chain.link(previous, chain.canonical(body)) != link:
            return None
        return _RECORD.validate_python(body), previous, link
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
