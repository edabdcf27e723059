"""Does `kill -9` lose or double a result? Kills writers at random moments and reads what they left.

    python benchmarks/store_kills.py [--kills 1000] [--migrations 100] [--seed 0]

A writer archives a picture and submits its result, from two threads, so that the database's thread commits several at
once; each acknowledged one is told through a pipe. It is killed after a random time. Then: every acknowledged result is
there with its hash and its picture, none is there twice, integrity_check and the chain verify, and the next writer goes
on in the same database. A second part kills migrations of databases of version 3. This is the end of a process, not of
the power: what the disk's own cache loses is not measured here.

Prints one JSON document. Exit code 1 when anything was lost.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import tempfile
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from threading import Thread

import numpy as np

from alledge.device.archive import FRAMES, Storage, find, intact
from alledge.device.camera import Frame
from alledge.device.sink.sqlite import SqliteSink
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.verdict import Verdict

PER_DATABASE = 50  # kills; then a new one, so that reading it does not take longer and longer
LONGEST_S = 0.15  # of a writer's life
OLD_ROWS = 400
OLD_TABLE = """CREATE TABLE results (sequence INTEGER PRIMARY KEY AUTOINCREMENT, taken_at TEXT, verdict TEXT,
confidence REAL, probabilities TEXT, reasons TEXT, quality TEXT, coverage REAL, timings_ms TEXT, engine TEXT,
bundle_id TEXT, source TEXT, caveat TEXT, faults TEXT)"""
OLD_ROW = ("", "benign", 0.9, '{"benign": 0.9}', "[]", "{}", 0.0, "{}", "tflite", "0", "f.png", "", "[]")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--migrations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, begin = random.Random(options.seed), time.monotonic()
    found = dict.fromkeys(("kills", "acknowledged", "unacknowledged_but_kept", "lost", "doubled", "pictures_lost",
                           "not_verified", "migrations", "migrations_interrupted", "migrations_lost"), 0)
    with tempfile.TemporaryDirectory() as folder:
        while found["kills"] < options.kills:
            count = min(PER_DATABASE, options.kills - found["kills"])
            kill_writers(Path(folder) / f"{found['kills']}", count, chance, found)
        for number in range(options.migrations):
            kill_migration(Path(folder) / f"old{number}.db", chance, found)
    print(json.dumps({**found, "seconds": round(time.monotonic() - begin)}))
    return int(any(found[name] for name in ("lost", "doubled", "pictures_lost", "not_verified", "migrations_lost")))


def kill_writers(folder: Path, count: int, chance: random.Random, found: dict[str, int]) -> None:
    """So many writers of one database, one after the other, each killed."""
    database, archive = folder / "results.db", folder / "captures"
    acknowledged: dict[int, str] = {}
    for life in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_for_ever(database, archive, life, writing)
        os.close(writing)
        time.sleep(chance.uniform(0, LONGEST_S))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(reading, encoding="ascii") as told:
            for line in told:
                if line.endswith("\n"):
                    number, link = line.split()
                    acknowledged[int(number)] = link
        found["kills"] += 1
        if acknowledged:  # before that, it may not have its tables yet
            found["not_verified"] += bool(verify(database).faults)
    rows = list(read_results(database)) if acknowledged else []
    links, sources = {row.sequence: row.hash for row in rows}, [row.source for row in rows]
    found["acknowledged"] += len(acknowledged)
    found["unacknowledged_but_kept"] += len(rows) - len(acknowledged)
    found["lost"] += sum(links.get(number) != link for number, link in acknowledged.items())
    found["doubled"] += len(sources) - len(set(sources))
    for row in rows:
        picture = find(archive, FRAMES, row.frame_sha256)
        found["pictures_lost"] += picture is None or not intact(picture, row.frame_sha256)


def write_for_ever(database: Path, archive: Path, life: int, told: int) -> None:
    """Write until killed; a line of number and hash through `told` for each that is on disk."""
    sink, storage = SqliteSink(database), Storage(database, archive)

    def tell(done: "Future[Verdict]") -> None:
        row = done.result()
        os.write(told, f"{row.sequence} {row.hash}\n".encode())

    def write(thread: int) -> None:
        pixels = np.zeros((32, 32, 3), np.uint8)
        for number in range(1_000_000):
            pixels[0, 0], pixels[0, 1], pixels[0, 2] = number % 251, life, thread
            kept = storage.keep(Frame(pixels, ""))
            future = sink.submit(Verdict("benign", 0.9, {"benign": 0.9}, source=f"{life}-{thread}-{number}",
                                         frame_sha256=kept.frame_sha256))
            future.add_done_callback(tell)
            if number % 4 == 3:
                future.result()

    for thread in range(2):
        Thread(target=write, args=(thread,)).start()
    time.sleep(60)
    os._exit(1)


def kill_migration(database: Path, chance: random.Random, found: dict[str, int]) -> None:
    """A database of version 3 whose migration is killed; the next attempt must have all of it."""
    with closing(sqlite3.connect(database)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute(OLD_TABLE)
        old.executemany(f"INSERT INTO results VALUES (NULL, {', '.join('?' * len(OLD_ROW))})", [OLD_ROW] * OLD_ROWS)
        old.execute("PRAGMA user_version=3")
        old.commit()
    child = os.fork()
    if child == 0:
        SqliteSink(database).close()
        os._exit(0)
    time.sleep(chance.uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    found["migrations_interrupted"] += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    SqliteSink(database).close()
    found["migrations"] += 1
    found["migrations_lost"] += len(list(read_results(database))) != OLD_ROWS or bool(verify(database).faults)


if __name__ == "__main__":
    raise SystemExit(main())
