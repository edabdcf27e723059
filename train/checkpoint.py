"""Finished epochs on disk, so that a killed training goes on where it was.

Two slots are written in turn, in place. Both take their room before the first epoch, so a disk that fills up later
loses no finished epoch; a slot that was cut short by a kill fails its checksums, and the other one holds the epoch
before. (`keras.callbacks.BackupAndRestore` overwrites its only file and forgets the best epoch's weights.)
"""

import errno
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.errors import DataError, OutputError

SLOTS = ("epochs-a.npz", "epochs-b.npz")
HEADS = "heads"  # folder below a run's for heads that are taught one after the other, with slots for each
_ROOM = 4096  # bytes for the small values; they must not grow, so their room is that of a full history
_ROOM_PER_EPOCH = 256
_FRAME = 512  # bytes around an array in a slot
_MB = 10 ** 6

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class State:
    """A training after some finished epochs.

    Attributes:
        epoch: how many are finished.
        history: metric -> one value per finished epoch.
        best: lowest validation loss; None before the first epoch.
        waited: epochs since then.
        stopped: no further epoch is wanted.
        variables: of the network as it is now, with the states of its random generators.
        optimizer: the optimizer's variables.
        best_weights: the network's weights at `best`; they stand for themselves, without random states.
    """

    epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float | None = None
    waited: int = 0
    stopped: bool = False
    variables: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    best_weights: Arrays = field(default_factory=list)


_LISTS = ("variables", "optimizer", "best_weights")


class Checkpoint:
    """The two slots in a run folder.

    Args:
        folder: the run folder.
        identity: everything that must be the same for the training to go on; JSON values.
        epochs: how many there will be at most.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], epochs: int) -> None:
        self._slots = [folder / name for name in SLOTS]
        self._identity = json.loads(json.dumps(identity))
        self._room = _ROOM + _ROOM_PER_EPOCH * epochs

    @property
    def exists(self) -> bool:
        """True when an earlier training left slots, whole or not."""
        return any(slot.exists() for slot in self._slots)

    def read(self) -> State | None:
        """The last finished epoch, or None when no slot is whole.

        Raises:
            DataError: when the slots belong to another training.
        """
        states = [state for slot in self._slots if (state := self._read(slot))]
        return max(states, key=lambda state: state.epoch, default=None)

    def reserve(self, start: State) -> None:
        """Take the room of both slots, before the first epoch.

        Raises:
            OutputError: when there is none; what was taken is given back.
        """
        try:
            for slot in self._slots:
                self._write(slot, start)
        except OSError as error:
            for slot in self._slots:
                with suppress(OSError):  # the folder itself may be the fault that is reported
                    slot.unlink()
            raise OutputError(self._no_room(start, error)) from error

    def write(self, state: State) -> None:
        """Put an epoch into the slot that does not hold the one before.

        Raises:
            OutputError: when it cannot be written; the epoch before stays.
        """
        slot = self._slots[state.epoch % 2]
        try:
            self._write(slot, state)
        except OSError as error:
            raise OutputError(f"{slot}: epoch {state.epoch} cannot be kept ({error.strerror}); choose a folder with "
                              "room that you own") from error

    def _write(self, slot: Path, state: State) -> None:
        slot.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(slot, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            np.savez(file, **self._arrays(state))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _no_room(self, start: State, error: OSError) -> str:
        folder = self._slots[0].parent
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return f"{folder}: finished epochs cannot be kept ({error.strerror}); choose a folder that you own"
        needed = len(self._slots) * sum(array.nbytes + _FRAME for array in self._arrays(start).values())
        free = shutil.disk_usage(folder).free
        return (f"{folder}: needs {ceil(needed / _MB)} MB for finished epochs, {free // _MB} MB are free; make room, "
                "or choose another --out")

    def _arrays(self, state: State) -> dict[str, Any]:
        small = {name: value for name, value in asdict(state).items() if name not in _LISTS}
        text = json.dumps({"identity": self._identity, "state": small}).encode()
        header = np.frombuffer(text.ljust(len(json.dumps(self._identity)) + self._room), np.uint8)
        lists = {f"{name}/{i}": array for name in _LISTS for i, array in enumerate(getattr(state, name))}
        return {"header": header, **lists}

    def _read(self, slot: Path) -> State | None:
        try:
            with np.load(slot, allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes())
                arrays = {name: _numbered(file, name) for name in _LISTS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        self._check(slot, header["identity"])
        return State(**{**header["state"], **arrays})

    def _check(self, slot: Path, found: dict[str, Any]) -> None:
        other = [name for name in {**found, **self._identity} if found.get(name) != self._identity.get(name)]
        if other:
            raise DataError(f"{slot.parent}: holds an unfinished training with another {', '.join(sorted(other))}; run "
                            f"its own command again, choose another --out, or delete {SLOTS[0]} and {SLOTS[1]}")


def forget(folder: Path) -> None:
    """Remove the epochs that were kept in a run folder, once what they led to is on disk."""
    shutil.rmtree(folder / HEADS, ignore_errors=True)
    for name in SLOTS:
        (folder / name).unlink(missing_ok=True)


def _numbered(file: Mapping[str, NDArray[Any]], name: str) -> Arrays:
    return [file[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") for key in file))]
