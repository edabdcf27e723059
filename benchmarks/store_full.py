"""What does a full disk do to results? Writes that fail by count, and a file system that is really full.

    python benchmarks/store_full.py [--results 200] [--cycles 100] [--seed 0]

First part: a library loaded before all others (store_full.c, compiled with cc) fails every k-th write and flush of the
process, for several k; each refused result is tried again. Second part, as root: a tmpfs of 3 MB is filled to its last
byte and emptied, again and again, while results and pictures are written; without root it is left out. Then: what was
acknowledged is there once with its hash, integrity_check and the chain verify, pictures are whole, and results were
accepted again as soon as there was room.

Prints one JSON document. Exit code 1 when anything was lost, or did not recover.
"""

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from alledge.device.archive import Storage
from alledge.device.camera import Frame
from alledge.device.sink import Sink, open_sink
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.device.verified_archive import verify_archive
from alledge.errors import SinkError
from alledge.verdict import Verdict

EVERY = (1, 2, 3, 5, 7, 11, 17, 31, 64)
MEGABYTES = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps([failing(options.child / str(k), k, options.results) for k in EVERY]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = {"every_kth_write_fails": shimmed(Path(folder), options.results),
                 "full_file_system": really_full(Path(folder) / "full", options.cycles, random.Random(options.seed))}
    print(json.dumps(found))
    rows = [*found["every_kth_write_fails"], *([found["full_file_system"]] if found["full_file_system"] else [])]
    return int(any(row["lost"] or row["doubled"] or row["faults"] or not row["recovered"] for row in rows))


def shimmed(folder: Path, count: int) -> list[dict[str, object]]:
    library = folder / "store_full.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_suffix(".c"), "-ldl"],
                   check=True)
    done = subprocess.run([sys.executable, __file__, "--child", folder, "--results", str(count)], check=True,
                          stdout=subprocess.PIPE, env={**os.environ, "LD_PRELOAD": str(library)})
    return json.loads(done.stdout)


def failing(folder: Path, every: int, count: int) -> dict[str, object]:
    """Open and write under failing writes, each result until it is taken, or 20 times."""
    shim = ctypes.CDLL(None)
    database, archive = folder / "results.db", folder / "captures"
    folder.mkdir()
    shim.fail_every(ctypes.c_long(every))
    sink, opened = None, 0
    while sink is None and opened < 50:
        opened += 1
        with suppress(SinkError):
            sink = open_sink("sqlite", database)
    if sink is None:
        shim.fail_every(ctypes.c_long(0))
        sink = open_sink("sqlite", database)
        shim.fail_every(ctypes.c_long(every))
    storage, kept, refused = Storage(database, archive), {}, 0
    for number in range(count):
        for _ in range(20):
            try:
                row = write(sink, storage, number)
            except SinkError:
                refused += 1
            else:
                kept[row.sequence] = row
                break
    failed = shim.failed_calls()
    shim.fail_every(ctypes.c_long(0))
    with closing(sink):
        row = write(sink, storage, count)
        kept[row.sequence] = row
    return {"k": every, "failed_calls": failed, "refused": refused, **read(database, archive, kept), "recovered": True}


def really_full(folder: Path, cycles: int, chance: random.Random) -> dict[str, object] | None:
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder]).returncode:
        return None
    try:
        return fill_and_empty(folder, cycles, chance)
    finally:
        subprocess.run(["umount", folder], check=True)


def fill_and_empty(folder: Path, cycles: int, chance: random.Random) -> dict[str, object]:
    database, archive, filler = folder / "results.db", folder / "captures", folder / "filler"
    kept, refused, said, recovered = {}, 0, 0, 0
    storage, number = Storage(database, archive, floor=100_000), 0
    with closing(open_sink("sqlite", database)) as sink:
        for _ in range(cycles):
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            said += storage.fault() is not None
            for _ in range(chance.randint(1, 12)):  # although it was said that there is no room
                number += 1
                try:
                    row = write(sink, storage, number)
                    kept[row.sequence] = row
                except SinkError:
                    refused += 1
            filler.unlink()
            number += 1
            row = write(sink, storage, number)
            kept[row.sequence] = row
            recovered += 1
            for picture in archive.rglob("*.png") if chance.random() < 0.2 else ():
                picture.unlink()  # an operator makes room
    return {"cycles": cycles, "said_full": said, "refused": refused, **read(database, archive, kept, pictures=False),
            "recovered": recovered == cycles}


def write(sink: Sink, storage: Storage, number: int) -> Verdict:
    pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), np.uint8)
    name = storage.keep(Frame(pixels, "")).frame_sha256 if number % 3 == 0 else ""  # else the database alone is tried
    return sink.write(Verdict("benign", 0.9, {"benign": 0.9}, source=str(number), frame_sha256=name))


def read(database: Path, archive: Path, kept: dict[int, Verdict], pictures: bool = True) -> dict[str, object]:
    rows = {row.sequence: row for row in read_results(database)}
    sources = [row.source for row in rows.values()]
    faults = [*verify(database).faults, *(verify_archive(database, archive) if pictures else ())]
    return {"acknowledged": len(kept), "rows": len(rows), "lost": sum(rows.get(n) != row for n, row in kept.items()),
            "doubled": len(sources) - len(set(sources)), "faults": faults}


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    raise SystemExit(code)
