"""What does a result on disk cost: alone, with others in one transaction, and beside bare SQLite and a bare file?

    python benchmarks/results_sink.py [--rounds 15] [--folder DIR] [--out docs/results/results-sink.md]

Every way has each row on the disk before it says so (SQLite with a write-ahead log and synchronous=FULL; fsync of a
file). The ways take turns, in files of their own in DIR (else the current folder), which has to be a real disk.
System calls are counted by strace, where it is, in a process of its own per way.
"""

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from pages import head, spread, table, times
from turns import Taken, over, take_turns

from alledge.device.sink.jsonl import JsonlSink
from alledge.device.sink.sqlite import MOST_AT_ONCE, SqliteSink
from alledge.device.store.chain import canonical
from alledge.labels import LABELS
from alledge.verdict import Verdict

TOGETHER = (8, 64, MOST_AT_ONCE)
CALLS = ("fsync,fdatasync", "write,pwrite64,writev", "read,pread64", "futex")
FEW = 256  # rows of the shorter of two runs that are counted; their difference has no opening and closing in it
ALONE, GROUP = "alledge, SQLite: each alone", f"alledge, SQLite: {MOST_AT_ONCE} submitted together"
BARE, BARE_MANY = "bare SQLite: each a transaction", f"bare SQLite: {MOST_AT_ONCE} a transaction"
LINES, BARE_LINE = "alledge, JSON lines", "bare file: append, fsync"
ROW = Verdict("benign", 0.9, dict.fromkeys(LABELS, 0.25), source="slide/0.png", sample="S-0001",
              taken_at="2026-01-01T00:00:00.000+00:00", quality={"focus": 9.0, "level": 200.0})
Write = Callable[[], object]


def together(sink: SqliteSink, count: int) -> None:
    for future in [sink.submit(ROW) for _ in range(count)]:
        future.result()


def bare(database: sqlite3.Connection, rows: list[tuple[str]]) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT INTO results (body) VALUES (?)", rows)
    database.execute("COMMIT")


def append(file: int, line: bytes) -> None:
    os.write(file, line)
    os.fsync(file)


@contextmanager
def ways(folder: Path) -> Iterator[dict[str, tuple[Write, int]]]:
    """Name -> what writes, and how many rows that are."""
    body = canonical(ROW.to_json())
    with ExitStack() as stack:
        alone, group = (stack.enter_context(closing(SqliteSink(folder / f"{name}.db"))) for name in ("alone", "group"))
        lines = stack.enter_context(closing(JsonlSink(folder / "lines.jsonl")))
        single, many = (stack.enter_context(closing(opened(folder / f"{name}.db"))) for name in ("single", "many"))
        file = os.open(folder / "bare.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        stack.callback(os.close, file)
        yield {ALONE: (partial(alone.write, ROW), 1),
               **{f"alledge, SQLite: {count} submitted together": (partial(together, group, count), count)
                  for count in TOGETHER},
               LINES: (partial(lines.write, ROW), 1),
               BARE: (partial(bare, single, [(body,)]), 1),
               BARE_MANY: (partial(bare, many, [(body,)] * MOST_AT_ONCE), MOST_AT_ONCE),
               BARE_LINE: (partial(append, file, body.encode() + b"\n"), 1)}


def opened(path: Path) -> sqlite3.Connection:
    """What a programmer would write who wants rows that survive a power cut, and nothing else."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE results (sequence INTEGER PRIMARY KEY, body TEXT)")
    return database


def measure(folder: Path, rounds: int) -> dict[str, Taken]:
    """Per row."""
    with ways(folder) as found:
        taken = take_turns({name: write for name, (write, _) in found.items()}, rounds, 0.01)
        return {name: Taken(t.cpu / found[name][1], t.wall / found[name][1]) for name, t in taken.items()}


def counted(name: str, rows: int, folder: Path) -> dict[str, float]:
    """System calls per row, by kind. Empty without strace, or where it may not look."""
    if not shutil.which("strace") or rows <= FEW:
        return {}
    few, many = (traced(name, count, folder) for count in (FEW, rows))
    return {kind: (many[kind] - few[kind]) / (rows - FEW) for kind in many if kind in few}


def traced(name: str, rows: int, folder: Path) -> dict[str, int]:
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        log = Path(inner) / "calls"
        strace = ["strace", "-f", "-c", "-U", "calls,name", "-e", f"trace={','.join(CALLS)}", "-o", str(log)]
        done = subprocess.run([*strace, sys.executable, __file__, "--write", json.dumps([name, rows]), "--folder",
                               inner], capture_output=True, check=False)
        if done.returncode or not log.exists():
            return {}
        calls = {call: int(count) for count, call in re.findall(r"^\s*(\d+)\s+(\w+)\s*$", log.read_text(), re.M)}
    return {kind: sum(calls.get(call, 0) for call in kind.split(",")) for kind in CALLS}


def write(name: str, rows: int, folder: Path) -> None:
    """So many rows by one way; what strace looks at."""
    with ways(folder) as found:
        step, at_once = found[name]
        for _ in range(rows // at_once):
            step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--counted", type=int, default=4 * FEW, metavar="ROWS",
                        help=f"rows that system calls are counted of; {FEW} or less: not counted")
    parser.add_argument("--write", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/results-sink.md"))
    given = parser.parse_args()
    if given.write:
        return write(*given.write, given.folder)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        taken = measure(Path(folder), given.rounds)
        calls = {name: counted(name, given.counted, Path(folder)) for name in taken}
    given.out.write_text(page(taken, calls, given), "utf-8")
    return None


def page(taken: dict[str, Taken], calls: dict[str, dict[str, float]], given: argparse.Namespace) -> str:
    per_row = [(name, times(over(t, taken[ALONE])), times(t.wall / taken[ALONE].wall), spread(t.cpu), spread(t.wall),
                f"{1e3 / np.median(t.wall):,.0f}") for name, t in taken.items()]
    system = table(("way", *(kind.replace(",", ", ") for kind in CALLS)),
                   [(name, *(f"{found[kind]:.2f}" for kind in CALLS)) for name, found in calls.items() if found]
                   ) if any(calls.values()) else "Not measured here: not asked for, or strace is not installed."
    return f"""{head("Results on disk", f"SQLite {sqlite3.sqlite_version}")}
A row is one result of about {len(canonical(ROW.to_json()))} bytes; each is on the disk before it is acknowledged.
{given.rounds} rounds in turns; median, in brackets the lowest and the highest tenth, per row. The disk is that of the
folder where it ran. Bare SQLite and the bare file keep the same text without a number, a chain of hashes, checks, or a
thread of their own. No target was set.

## Per row

{table(("way", "CPU of ours alone", "clock of ours alone", "CPU ms", "wall ms", "rows a second"), per_row)}

## System calls per row

Counted by strace over {given.counted - FEW} rows, opening and closing apart. What was submitted together is written
in as many transactions as the writer finds it in; one flush in about a hundred rows is SQLite's own checkpoint.

{system}
"""


if __name__ == "__main__":
    main()
