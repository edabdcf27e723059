"""The log of a disk's writes and flushes, and the disk as it may be when the power goes at a place in it.

The format is that of Linux's dm-log-writes, which QEMU's `blklogwrites` driver writes (Linux,
Documentation/admin-guide/device-mapper/log-writes.rst): a head in the first sector, then for each request one sector
with its place, length and flags, and what was written.
"""

import os
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
_HEAD, _ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Entry:
    """One request: `data` to be written at byte `at`, or a flush of all requests before it."""

    at: int
    data: bytes
    flush: bool


class WriteLog:
    """Reads a log while it is written: `entries` are those that were there when `follow` was last called."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._next = SECTOR
        self.entries: list[Entry] = []

    def follow(self) -> int:
        """How many requests have come so far.

        Raises:
            ValueError: for a request of a kind that is not played back here.
        """
        while True:
            sector, length, flags, _ = _ENTRY.unpack(os.pread(self._file, _ENTRY.size, self._next))
            if (sector, length, flags) == (0, 0, 0):  # the log's file is long and empty from here on
                return len(self.entries)
            if flags & ~(FLUSH | FUA):
                raise ValueError(f"request {len(self.entries)} has the flags {flags}; expected writes and flushes only")
            data = os.pread(self._file, length * SECTOR, self._next + SECTOR)
            self._next += SECTOR + len(data)
            self.entries.append(Entry(sector * SECTOR, data, bool(flags & FLUSH)))

    def close(self) -> None:
        """Check the log's head, which is there once anything was flushed, and let go of it."""
        magic, _, count, size = _HEAD.unpack(os.pread(self._file, _HEAD.size, 0))
        os.close(self._file)
        if (magic, size) != (MAGIC, SECTOR) or count > len(self.entries):
            raise ValueError(f"not the log that was read: magic {magic:x}, sectors of {size} bytes, {count} requests")


class Disk:
    """What a disk may hold after a power cut; cuts are asked for in ascending order.

    Requests were made one at a time, so a flush covers all that stand before it. Of what came after the last flush each
    write is there or not, and of one that is there perhaps only some sectors, in any combination.
    """

    def __init__(self, begin: bytes, entries: Sequence[Entry]) -> None:
        self._sure, self._entries, self._done = bytearray(begin), entries, 0
        self.dropped = self.torn = 0

    def cut(self, end: int, chance: random.Random) -> bytearray:
        """The disk when the power goes after `end` requests."""
        flushed = max((i for i in range(self._done, end) if self._entries[i].flush), default=self._done)
        for entry in self._entries[self._done:flushed]:
            _write(self._sure, entry)
        self._done = flushed
        held = bytearray(self._sure)
        for entry in self._entries[flushed:end]:
            if entry.data:
                self._perhaps(held, entry, chance)
        return held

    def _perhaps(self, held: bytearray, entry: Entry, chance: random.Random) -> None:
        if chance.random() < 0.5:
            self.dropped += 1
        elif len(entry.data) == SECTOR or chance.random() < 0.5:
            _write(held, entry)
        else:
            self.torn += 1
            for begin in range(0, len(entry.data), SECTOR):
                if chance.random() < 0.5:
                    _write(held, Entry(entry.at + begin, entry.data[begin:begin + SECTOR], False))


def _write(held: bytearray, entry: Entry) -> None:
    held[entry.at:entry.at + len(entry.data)] = entry.data
