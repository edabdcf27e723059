"""What does a power cut leave of acknowledged results? Plays a writer's every write back up to a random moment.

    python benchmarks/store_power.py [--results 1000] [--cuts 2000] [--seed 0] [--normal]

A library loaded before all others (store_power.c, compiled with cc) logs each write, truncation, flush, new name and
removal of a writer that archives pictures and submits results. The power is then cut at random places of that log, as
the strictest reading of POSIX allows: what was written after a file's last flush is there or not, write by write and
sector by sector; names after a folder's last flush are there up to some point. Then: every result acknowledged before
the cut is there with its hash and its picture, the chain verifies, and the next result can be written.

This is a model of a disk that keeps what it was told to flush. A card that lies about flushing is not in it.
--normal is the control: with synchronous=NORMAL, which SQLite recommends for a write-ahead log, results must be lost.
Prints one JSON document. Exit code 1 when anything acknowledged was lost.
"""

import argparse
import ctypes
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alledge.device.archive import FRAMES, Storage, find, intact
from alledge.device.camera import Frame
from alledge.device.sink import open_sink
from alledge.device.sink.sqlite import SqliteSink
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.errors import SinkError
from alledge.verdict import Verdict

HEAD = struct.Struct("<cQQQ")
SECTOR = 512
WORSE = ("lost", "pictures_lost", "not_verified", "not_writable")


@dataclass(frozen=True)
class Record:
    """kind: w(rite), t(runcate), s(ync), n(ame), d (new folder), r(emove name), a(cknowledged)."""

    kind: str
    node: int
    at: int
    data: bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--normal", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return write(options.child, options.results, "NORMAL" if options.normal else "FULL")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root, library = folder / "disk", folder / "store_power.so"
        root.mkdir()
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_suffix(".c"), "-ldl",
                        "-lpthread"], check=True)
        subprocess.run([sys.executable, __file__, "--child", root, "--results", str(options.results),
                        *(["--normal"] if options.normal else [])], check=True,
                       env={**os.environ, "LD_PRELOAD": str(library), "STORE_LOG": str(folder / "log"),
                            "STORE_LOG_ROOT": str(root)})
        found = cut_again_and_again(folder, root, options.cuts, random.Random(options.seed))
    print(json.dumps(found))
    return int(any(found[name] for name in WORSE))


def write(root: Path, count: int, synchronous: str) -> int:
    """In a folder that is not there yet, by a small write-ahead log, so that checkpoints are among what is cut."""
    tell = ctypes.CDLL(None).acknowledged
    database = root / "state" / "results.db"
    storage = Storage(database, root / "state" / "captures")
    with closing(SqliteSink(database)) as sink:
        sink._database.execute("PRAGMA wal_autocheckpoint=20")  # pages; SQLite's own 1,000 would take many results
        sink._database.execute(f"PRAGMA synchronous={synchronous}")
        waiting = []
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8).repeat(6, 0).repeat(6, 1)
            name = storage.keep(Frame(pixels, "")).frame_sha256 if number % 2 else ""
            waiting.append(sink.submit(Verdict("benign", 0.9, {"benign": 0.9}, source=str(number), frame_sha256=name)))
            if number % 3 == 0:
                for future in waiting:
                    tell(ctypes.c_long(future.result().sequence))
                waiting = []
    return 0


def cut_again_and_again(folder: Path, root: Path, cuts: int, chance: random.Random) -> dict[str, int]:
    log, whole = read_log(folder / "log"), {row.sequence: row for row in read_results(root / "state" / "results.db")}
    inode = root.stat().st_ino
    found = {"writes_logged": sum(r.kind == "w" for r in log), "flushes_logged": sum(r.kind == "s" for r in log),
             "cuts": 0, "acknowledged_before_cuts": 0, **dict.fromkeys(WORSE, 0)}
    for number in range(cuts):
        end, disk = chance.randint(1, len(log)), folder / f"cut{number}"
        play_back(log[:end], disk, root, inode, chance)
        kept = {r.node for r in log[:end] if r.kind == "a"}
        found["cuts"] += 1
        found["acknowledged_before_cuts"] += len(kept)
        judge(disk / "state", {n: whole[n] for n in kept}, found)
        shutil.rmtree(disk)
    return found


def read_log(path: Path) -> list[Record]:
    data, at, log = path.read_bytes(), 0, []
    while at < len(data):
        kind, node, offset, size = HEAD.unpack_from(data, at)
        at += HEAD.size
        log.append(Record(kind.decode(), node, offset, data[at:at + size]))
        at += size
    return log


def play_back(log: list[Record], disk: Path, root: Path, inode: int, chance: random.Random) -> None:
    """Make what the disk may hold when the power goes after the last record."""
    flushed = {r.node: i for i, r in enumerate(log) if r.kind == "s"}
    contents: dict[int, bytearray] = {}
    for i, record in enumerate(log):
        if record.kind in "wt" and (i < flushed.get(record.node, -1) or chance.random() < 0.5):
            apply(contents.setdefault(record.node, bytearray()), record, i < flushed.get(record.node, -1), chance)
    names = [(i, r) for i, r in enumerate(log) if r.kind in "ndr" and r.data.startswith(str(root).encode())]
    folders = {str(root): inode, **{r.data.decode(): r.node for _, r in names if r.kind == "d"}}
    sure = max((n for n, (i, r) in enumerate(names) if i < flushed.get(
        folders.get(os.path.dirname(r.data.decode()), 0), -1)), default=-1)
    reach = chance.randint(sure + 1, len(names))  # a journal keeps the order of names
    if 0 < reach < len(names) and names[reach - 1][1].kind == "r" and names[reach][1].node == names[reach - 1][1].node:
        reach += 1  # a rename is one change
    there: dict[str, Record] = {}
    for _, record in names[:reach]:
        there.pop(record.data.decode(), None)
        if record.kind != "r":
            there[record.data.decode()] = record
    disk.mkdir()
    for path, record in there.items():
        place = disk / os.path.relpath(path, root)
        if record.kind == "d":
            place.mkdir()
        else:
            place.write_bytes(contents.get(record.node, b""))


def apply(content: bytearray, record: Record, whole: bool, chance: random.Random) -> None:
    """One write or truncation; of one that was not flushed, perhaps only some sectors."""
    if record.kind == "t":
        content[:] = content[:record.at].ljust(record.at, b"\0")
        return
    if len(content) < record.at:
        content.extend(bytes(record.at - len(content)))
    for begin in range(0, len(record.data), SECTOR):
        piece = record.data[begin:begin + SECTOR]
        if whole or chance.random() < 0.8:
            at = record.at + begin
            content.extend(bytes(max(0, at - len(content))))
            content[at:at + len(piece)] = piece


def judge(state: Path, kept: dict[int, Verdict], found: dict[str, int]) -> None:
    database = state / "results.db"
    if kept:
        try:
            rows = {row.sequence: row for row in read_results(database)}
            found["not_verified"] += bool(verify(database).faults)
        except SinkError:
            rows = {}
            found["not_verified"] += 1
        found["lost"] += sum(rows.get(number) != row for number, row in kept.items())
        for row in kept.values():
            picture = find(state / "captures", FRAMES, row.frame_sha256) if row.frame_sha256 else None
            found["pictures_lost"] += bool(row.frame_sha256) and (picture is None
                                                                 or not intact(picture, row.frame_sha256))
    try:
        with closing(open_sink("sqlite", database)) as sink:
            sink.write(Verdict("benign", 0.9, {"benign": 0.9}))
    except SinkError:
        found["not_writable"] += 1


if __name__ == "__main__":
    raise SystemExit(main())
