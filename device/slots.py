"""Two places for an installed model: one is run, the other is written, and only a whole, verified one is switched to.

Every change is one line of the log (`slot_log`), which either is on disk or never happened.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from alledge.bundle import Bundle
from alledge.errors import AlledgeError, BundleRefused, OutputError, UsageError
from alledge.files import make_folder, sync_folder, write_pieces

from .slot_log import Log, Slot, State, Trial, append, read

STARTS = 3  # how often a trial may be started before it is rolled back
MODEL = "model.alledge"
_PIECE = 2**20
_LOCK = "lock"


def current(state_folder: Path) -> Path | None:
    """The installed bundle that a device runs when nobody names another; None when none is installed.

    It changes nothing. What is on trial is not it before its health check held; a device's start decides that
    (`settling.at_start`).

    Raises:
        OutputError: when what is installed cannot be read.
    """
    slots = Slots(state_folder)
    return slots.path(slots.state.runs)


class Slots:
    """The slots in a state folder. Only whoever holds `locked` may change them."""

    def __init__(self, state_folder: Path) -> None:
        self.folder = state_folder / "models"

    @property
    def log(self) -> Log:
        """Everything that happened."""
        return read(self.folder)

    @property
    def state(self) -> State:
        """How things are."""
        return self.log.state

    def path(self, slot: str) -> Path | None:
        """Of the bundle in a slot; None for ""."""
        return self.folder / slot / MODEL if slot else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the slots, which ends with the process whatever ends it, and sweep up after one that was killed.

        Raises:
            UsageError: while another process holds them.
            OutputError: when the folder cannot be made.
        """
        try:
            make_folder(self.folder)
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OutputError(f"{self.folder}: models cannot be kept there ({error.strerror}); run it as the user who "
                              "runs the device") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise UsageError(f"{self.folder}: another `alledge model` or start is at work there; wait until it has "
                             "ended") from error
        try:
            for leftover in (*self.folder.glob(".*"), *self.folder.glob("*/.*")):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)

    def tell(self, event: str, detail: str) -> None:
        """A line in the log that changes nothing."""
        append(self.folder, event, detail, self.state)

    def receive(self, bundle: Bundle) -> Slot:
        """Copy a bundle into the slot that is not run, read it back from the disk, and return that slot.

        Raises:
            AlledgeError: when it cannot be written, or is not there what was read; the slot then counts as empty.
        """
        state = self.state
        slot: Slot = "b" if state.active == "a" else "a"
        path = self.folder / slot / MODEL
        emptied = replace(state, ids=_without(state.ids, slot), fallback="")  # of two slots, the other one is in use
        append(self.folder, "receiving", f"{bundle.id} into slot {slot}, from {bundle.path}", emptied)
        try:
            make_folder(path.parent)
            write_pieces(path, _pieces(bundle.path, bundle.size))
            sync_folder(path.parent)
            _forget(path)
        except OSError as error:
            if isinstance(error, AlledgeError):
                raise
            raise OutputError(f"{bundle.path}: cannot be copied to {path} ({error.strerror})") from error
        self.check(slot, bundle.id)
        append(self.folder, "verified", f"{bundle.id} was read back from slot {slot}",
               replace(emptied, ids={**emptied.ids, slot: bundle.id}))
        return slot

    def check(self, slot: str, identity: str) -> None:
        """Read a slot's bundle as a whole.

        Raises:
            AlledgeError: when it is not there, damaged, or another one.
        """
        path = self.folder / slot / MODEL
        found = Bundle.open(path).id
        if found != identity:
            raise OutputError(f"{path}: holds {found}, expected {identity or 'nothing'}; install it again")

    def switch(self, slot: Slot, trial: Trial) -> None:
        """Run another slot from now on, on trial."""
        state = self.state
        append(self.folder, "trial", f"{state.ids[slot]} in slot {slot}, {trial}, {STARTS} starts",
               replace(state, active=slot, fallback=state.active, trial=trial, starts_left=STARTS))

    def leave_to_person(self, why: str) -> None:
        """The health check held; only a person commits it now."""
        append(self.folder, "on trial", why, replace(self.state, trial="manual"))

    def count_start(self) -> None:
        """One start less for the trial."""
        state = self.state
        append(self.folder, "started", f"{STARTS - state.starts_left + 1} of {STARTS} starts on trial",
               replace(state, starts_left=state.starts_left - 1))

    def commit(self, why: str) -> None:
        """Keep the trial."""
        append(self.folder, "committed", why, replace(self.state, trial="", starts_left=0))

    def roll_back(self, why: str) -> None:
        """Leave the active slot for what was run before; its bundle is never gone back to."""
        state = self.state
        append(self.folder, "rolled back", why, State(active=state.fallback, ids=_without(state.ids, state.active)))


def _without(ids: Mapping[Slot, str], slot: str) -> dict[Slot, str]:
    return {name: identity for name, identity in ids.items() if name != slot}


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """Of a file on a medium that may be pulled out, or be changed: no more than what was verified."""
    try:
        with path.open("rb") as file:
            for begin in range(0, size, _PIECE):
                yield file.read(min(_PIECE, size - begin))
    except OSError as error:
        raise BundleRefused(f"{path}: cannot be read to its end ({error.strerror}); copy it again") from error


def _forget(path: Path) -> None:
    """Have the next reading come from the disk and not from memory, as far as the system does that."""
    with suppress(AttributeError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
