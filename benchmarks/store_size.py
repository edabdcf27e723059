"""How long and how much memory do years of results take?

    python benchmarks/store_size.py [--results 100000]

Writes so many results a thousand at a time, then runs each command that reads all of them, as a user does.
Prints one JSON document: seconds, and MB of memory at most.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from alledge.device.sink.sqlite import SqliteSink
from alledge.verdict import Verdict

TOGETHER = 1000
RESULT = Verdict("pre_b", 0.97, {"benign": 0.01, "early_pre_b": 0.01, "pre_b": 0.97, "pro_b": 0.01}, (),
                 {"focus": 12.512345, "level": 200.123, "saturated": 0.01, "black": 0.0}, 0.1234,
                 {"capture": 1.234, "segment": 5.1, "infer": 3.3, "total": 10.1}, 0, "2026-01-02T03:04:05.678+00:00",
                 "tflite", "0" * 16, "synthetic",
                 gates={"confidence_least": 0.75, "distance": 3.2, "distance_most": 5.1})
COMMANDS = (("list", "--last", "5"), ("list",), ("export", "out.csv"), ("export", "out.jsonl"), ("verify",),
            ("backup", "backup.db"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=100_000)
    count = parser.parse_args().results
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "results.db"
        with closing(SqliteSink(database)) as sink:
            began, first = time.perf_counter(), 0
            for _ in range(0, count, TOGETHER):
                for future in [sink.submit(RESULT) for _ in range(TOGETHER)]:
                    future.result()
                first = first or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            seconds = time.perf_counter() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first) / 1000
        found = {"results": count, "database_MB": round(database.stat().st_size / 1e6, 1),
                 "write": {"s": round(seconds, 1), "MB_more_than_after_the_first_thousand": round(grown, 1)}}
        for command in COMMANDS:
            found[" ".join(command)] = cost(command, database)
    print(json.dumps(found))


def cost(command: tuple[str, ...], database: Path) -> dict[str, float]:
    began = time.perf_counter()
    running = subprocess.Popen([sys.executable, "-m", "alledge", "results", *command, "--results", database],
                               stdout=subprocess.DEVNULL, cwd=database.parent)
    _, status, used = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return {"s": round(time.perf_counter() - began, 1), "MB": round(used.ru_maxrss / 1000)}


if __name__ == "__main__":
    main()
