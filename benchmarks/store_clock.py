"""Do results stay in order when the clock is set, to anything, again and again?

    python benchmarks/store_clock.py [--results 1000] [--seed 0]

A library loaded before all others (store_clock.c, compiled with cc) sets the wall clock of the process before each
result: to 1970, to 2099, back and forth by seconds, hours and years, over both changes of summer time; the time zone
changes as well, and the database is closed and opened again. Then: numbers, chain, uptime and every export are in the
order of writing.

Prints one JSON document. Exit code 1 when anything is out of order.
"""

import argparse
import csv
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from alledge.device.camera import now
from alledge.device.sink import open_sink
from alledge.device.store.backup import back_up
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.device.stored import export
from alledge.verdict import Verdict

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tehran", "Pacific/Kiritimati")
MOMENTS = (0, 1, 1774745999, 1774746001, 1792893600, 1792897199, 1735689600, 4102444799, 2**31 - 1, 2**31)  # s of 1970
PER_OPENING = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(written(options.child, options.results, random.Random(options.seed))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "store_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_suffix(".c"), "-ldl"],
                       check=True)
        done = subprocess.run([sys.executable, __file__, "--child", folder, "--results", str(options.results), "--seed",
                               str(options.seed)], check=True, stdout=subprocess.PIPE,
                              env={**os.environ, "LD_PRELOAD": str(library)})
    found = json.loads(done.stdout)
    print(json.dumps(found))
    return int(not all(value for key, value in found.items() if key.endswith(("in_order", "verifies"))))


def written(folder: Path, count: int, chance: random.Random) -> dict[str, object]:
    clock, began = ctypes.CDLL(None), time.time()
    database, kept, at = folder / "results.db", [], began
    for start in range(0, count, PER_OPENING):
        with closing(open_sink("sqlite", database)) as sink:
            for number in range(start, min(start + PER_OPENING, count)):
                at = chance.choice((*MOMENTS, at + 1, at - 1, at + 3600, at - 3600, at - 10**8, began))
                clock.set_clock(ctypes.c_long(int(max(at, 0) - began)))
                os.environ["TZ"] = chance.choice(ZONES)
                time.tzset()
                kept.append(sink.write(Verdict("benign", 0.9, {"benign": 0.9}, source=str(number), taken_at=now(),
                                               sample="S-0001")))
    times = [row.taken_at for row in kept]
    return {"results": len(kept), "clock_went_back": sum(b < a for a, b in pairwise(times)),
            "earliest": min(times), "latest": max(times), **judged(database, [row.source for row in kept], folder)}


def judged(database: Path, sources: list[str], folder: Path) -> dict[str, bool]:
    """Is everything that was written in the order of its sources? All of it is of the sample S-0001."""
    rows = list(read_results(database))
    uptimes = [row.uptime_s for row in rows]
    for form in ("csv", "json", "jsonl", "html", "fhir"):
        export(database, folder / (f"out.{form}" if form in ("csv", "json", "jsonl") else form), form)
    table = csv.DictReader((folder / "out.csv").read_text().splitlines())
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    resources = json.loads((folder / "fhir" / "S-0001.fhir.json").read_text())["entry"]
    page = (folder / "html" / "S-0001.html").read_text()
    places = [page.index(f"<p class=hash>row {row.hash}") for row in rows]
    return {
        "rows_in_order": [row.source for row in rows] == sources and [row.sequence for row in rows] == list(
            range(1, len(sources) + 1)),
        "uptimes_in_order": uptimes == sorted(uptimes),
        "csv_in_order": [row["source"] for row in table] == sources,
        "json_in_order": [row["source"] for row in json.loads((folder / "out.json").read_text())["results"]] == sources,
        "jsonl_in_order": [row["source"] for row in lines] == sources,
        "html_in_order": places == sorted(places),
        "fhir_in_order": [entry["resource"]["id"] for entry in resources[1:]] == [row.hash for row in rows],
        "chain_verifies": not verify(database).faults,
        "backup_verifies": back_up(database, folder / "backup.db").rows == len(sources),
    }


if __name__ == "__main__":
    raise SystemExit(main())
