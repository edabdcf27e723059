"""Two places for an installed model: one is run, the other is written, and only a whole, verified one is switched to.

Every change is one line of the log (`slot_log`), which either is on disk or never happened.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from alledge.bundle import Bundle
from alledge.errors import OutputError

from .slot_files import copy_in, hold
from .slot_log import Log, Slot, State, Trial, append, read

STARTS = 3  # how often a trial may be started before it is rolled back
MODEL = "model.alledge"


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

    def locked(self) -> AbstractContextManager[None]:
        """Hold the slots, so that nobody else changes them. Errors as `slot_files.hold`."""
        return hold(self.folder)

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
        copy_in(bundle, path)
        self.check(slot, bundle.id)
        append(self.folder, "verified", f"{bundle.id} was read back from slot {slot}",
               replace(emptied, ids={**emptied.ids, slot: bundle.id}))
        return slot

    def check(self, slot: str, identity: str) -> Bundle:
        """Read a slot's bundle as a whole.

        Raises:
            AlledgeError: when it is not there, damaged, or another one.
        """
        path = self.folder / slot / MODEL
        found = Bundle.open(path)
        if found.id != identity:
            raise OutputError(f"{path}: holds {found.id}, expected {identity or 'nothing'}; install it again")
        return found

    def switch(self, slot: Slot, trial: Trial) -> None:
        """Run another slot from now on, on trial."""
        state = self.state
        append(self.folder, "trial", f"{state.ids[slot]} in slot {slot}, {trial}, {STARTS} starts",
               replace(state, active=slot, fallback=state.active, trial=trial, checked=False, starts_left=STARTS))

    def leave_to_person(self, why: str) -> None:
        """The health check held; only a person commits it now."""
        append(self.folder, "on trial", why, replace(self.state, checked=True))

    def count_start(self) -> None:
        """One start less for the trial."""
        state = self.state
        append(self.folder, "started", f"{STARTS - state.starts_left + 1} of {STARTS} starts on trial",
               replace(state, starts_left=state.starts_left - 1))

    def commit(self, why: str) -> None:
        """Keep the trial."""
        append(self.folder, "committed", why, replace(self.state, trial="", checked=False, starts_left=0))

    def roll_back(self, why: str) -> None:
        """Leave the active slot for what was run before; its bundle is never gone back to."""
        state = self.state
        append(self.folder, "rolled back", why, State(active=state.fallback, ids=_without(state.ids, state.active)))


def _without(ids: Mapping[Slot, str], slot: str) -> dict[Slot, str]:
    return {name: identity for name, identity in ids.items() if name != slot}
