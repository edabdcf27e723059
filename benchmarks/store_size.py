"""How long and how much memory do years of results take, and does it grow in proportion?

    python benchmarks/store_size.py [--results 10000 100000 1000000] [--folder DIR] [--out docs/results/store-size.md]

One database grows to each number, a thousand results submitted together. Then results are written one at a time, each
waited for until the disk has it, and each command that reads is run as a user runs it. Processor time is what to
compare: the clock counts whatever else the machine does. Memory is at least that of this process, from which each
command is started. Writes one page.
"""

import argparse
import datetime
import os
import platform
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

from alledge.device import machine
from alledge.device.sink.sqlite import SqliteSink
from alledge.verdict import Verdict

TOGETHER, ALONE, FIELDS_OF_A_SAMPLE = 1000, 300, 20
RESULT = Verdict("pre_b", 0.97, {"benign": 0.01, "early_pre_b": 0.01, "pre_b": 0.97, "pro_b": 0.01}, (),
                 {"focus": 12.512345, "level": 200.123, "saturated": 0.01, "black": 0.0}, 0.1234,
                 {"capture": 1.234, "segment": 5.1, "infer": 3.3, "total": 10.1}, 0, "2026-01-02T03:04:05.678+00:00",
                 "tflite", "0" * 16, "synthetic",
                 gates={"confidence_least": 0.75, "distance": 3.2, "distance_most": 5.1})

Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="on the disk to measure; else the system's for temporary files")
    parser.add_argument("--out", type=Path, default=Path("docs/results/store-size.md"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        database, columns = Path(folder) / "results.db", list[tuple[int, Row]]()
        for count in sorted(given.results):
            columns.append((count, {**grown(database, count), **reading(database, count)}))
            print(count, columns[-1][1], flush=True)
            given.out.write_text(page(columns, given.results, filesystem(database.parent)), "utf-8")


def grown(database: Path, count: int) -> Row:
    """Fill the database up to `count`; what each of those rows cost, and what single ones do after them."""
    with closing(SqliteSink(database)) as sink:
        have = rows_in(database)
        began, cpu = time.perf_counter(), time.process_time()
        for first in range(have, count - ALONE, TOGETHER):
            wanted = range(first, min(first + TOGETHER, count - ALONE))
            for future in [sink.submit(field(number)) for number in wanted]:
                future.result()
        cost = (time.process_time() - cpu) / (count - ALONE - have) * 1e3
        rate = (count - ALONE - have) / (time.perf_counter() - began)
        waits = [alone(sink, number) for number in range(count - ALONE, count)]
    cuts = quantiles(waits, n=100)
    return {"rows written together: CPU ms each (rows a second by the clock)": f"{cost:.3f} ({rate:,.0f})",
            "row written alone: ms, p50, p99, max": f"{cuts[49]:.2f}, {cuts[98]:.2f}, {max(waits):.2f}",
            "memory of the writer at most, MB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f}",
            "database, MB": f"{database.stat().st_size / 1e6:,.1f}"}


def reading(database: Path, count: int) -> Row:
    """Each command that reads: CPU seconds (by the clock), and MB at most."""
    sample = field(count // 2).sample
    commands = (("list", "--last", "5"), ("show", str(count // 2)), ("list", "--sample", sample), ("list",),
                ("export", "out.csv"), ("export", "out.jsonl"), ("verify",), ("backup", "backup.db"))
    found = {}
    for command in commands:
        name = " ".join(command).replace(sample, "ID").replace(str(count // 2), "N")
        found[f"`{name}`"] = cost(command, database)
        for left in ("out.csv", "out.jsonl", "backup.db"):
            (database.parent / left).unlink(missing_ok=True)
    return found


def field(number: int) -> Verdict:
    """The n-th result: twenty fields make a sample."""
    return replace(RESULT, sample=f"S-{number // FIELDS_OF_A_SAMPLE:06d}")


def alone(sink: SqliteSink, number: int) -> float:
    """Milliseconds until one result is on disk."""
    began = time.perf_counter()
    sink.write(field(number))
    return (time.perf_counter() - began) * 1e3


def rows_in(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("select count(*) from results").fetchone()[0])


def cost(command: tuple[str, ...], database: Path) -> str:
    began = time.perf_counter()
    running = subprocess.Popen([sys.executable, "-m", "alledge", "results", *command, "--results", database],
                               stdout=subprocess.DEVNULL, cwd=database.parent)
    _, status, used = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return (f"{used.ru_utime + used.ru_stime:.2f} ({time.perf_counter() - began:.1f}), "
            f"{used.ru_maxrss / 1000:.0f}")


def filesystem(folder: Path) -> str:
    """Its type; without NumPy, whose memory a child would be said to have had before it began."""
    told = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()
    return told.replace("ext2/ext3", "ext4 or an older ext")  # which it cannot tell apart


def page(columns: list[tuple[int, Row]], asked: list[int], disk: str) -> str:
    about = machine.describe()
    heads = " | ".join(f"{count:,}" for count, _ in columns)
    rows = [f"| {name} | " + " | ".join(found[name] for _, found in columns) + " |" for name in columns[0][1]]
    rows.insert(4, "| **`alledge results`**: CPU s (by the clock), MB at most |" + " |" * len(columns))
    return f"""# The results database as it grows

`python benchmarks/store_size.py --results {' '.join(map(str, asked))}`, {datetime.date.today()}, {about['cpu']},
{about['cores']} cores, {platform.system()}, Python {about['python']}, SQLite {sqlite3.sqlite_version}, files on {disk};
load average {os.getloadavg()[1]:.1f} from other work, so the clock's figures are too high. One run. Not a board.

| results | {heads} |
|---|{'---|' * len(columns)}
{chr(10).join(rows)}
"""


if __name__ == "__main__":
    main()
