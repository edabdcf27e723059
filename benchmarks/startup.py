"""How long until the first verdict, and what is it spent on? Writes docs/results/startup.md.

    python benchmarks/startup.py [--rounds 7] [--out FILE]

Processes are started in turns: an empty Python, one that imports alledge, the command line's help, and `alledge run` on
one field with the bundle that comes with the package, a PNG display and SQLite, timed until its verdict is on disk, on
the display and printed. Time by the clock, and processor time of the process and its children.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

import numpy as np
from pages import TARGETS, head, spread, table, target, times
from turns import Taken, over

from alledge.config import DeviceConfig
from alledge.device.bench.starts import starts
from alledge.images import write_png
from alledge.synthetic import draw_field

MOST_VERDICT_S, MOST_IMPORT_S = 1.2, 0.1
EMPTY, IMPORT, FIRST = "an empty Python", "`import alledge`", "process start to first verdict"
LARGEST = 14  # modules told of
Start = Callable[[], object]


def process(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def first_verdict(field: Path) -> float:
    """Milliseconds by the clock until the verdict is there; the process ends a little later."""
    with tempfile.TemporaryDirectory() as folder:
        (one,) = starts(DeviceConfig(), Path(folder), field, 1)
    return one.ms


def measure(ways: dict[str, Start], rounds: int) -> dict[str, Taken]:
    """Each way in every round, after one that counts for none: it brings the files into memory."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            cpu, wall = children_ms(), perf_counter()
            told = way()
            took = told if isinstance(told, float) else (perf_counter() - wall) * 1e3
            if number:
                taken[name].append((children_ms() - cpu, took))
    return {name: Taken(*np.array(pairs).T) for name, pairs in taken.items()}


def children_ms() -> float:
    """Processor time of all children that have ended."""
    spent = getrusage(RUSAGE_CHILDREN)
    return (spent.ru_utime + spent.ru_stime) * 1e3


def imported(command: list[str]) -> list[tuple[str, float]]:
    """Modules by what they and what they brought took at import, ms, the costliest first (`-X importtime`)."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=False)
    json.loads(done.stdout)  # a verdict; the exit code only says whether it is a class or "inconclusive"
    lines = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)", done.stderr)
    packages: dict[str, float] = {}
    for own, _, _, name in lines:
        top = name.partition(".")[0]
        packages[top] = packages.get(top, 0.0) + int(own) / 1e3
    return sorted(packages.items(), key=lambda item: -item[1])[:LARGEST]


def configured(folder: Path, field: Path) -> list[str]:
    """The command that `starts` starts, to ask what it imports."""
    toml = folder / "device.toml"
    toml.write_text(f'[camera]\nuri = "file://{field}"\n[display]\nname = "png"\n[display.options]\npath = '
                    f'"{folder}/now.png"\n[results]\ndatabase = "{folder}/r.db"\nfloor = 0\n')
    return ["-m", "alledge", "run", "--config", str(toml), "--frames", "1", "--json"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/results/startup.md"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        field = Path(folder) / "field.png"
        write_png(field, draw_field("pre_b", 1).rgb)
        taken = measure({
            EMPTY: partial(process, "-c", "pass"), IMPORT: partial(process, "-c", "import alledge"),
            "`import alledge`, then `alledge.segment`": partial(process, "-c", "import alledge; alledge.segment"),
            "`import numpy, cv2`": partial(process, "-c", "import numpy, cv2"),
            "`import ai_edge_litert.interpreter`": partial(process, "-c", "import ai_edge_litert.interpreter"),
            "`alledge --help`": partial(process, "-m", "alledge", "--help"),
            "`alledge run --help`": partial(process, "-m", "alledge", "run", "--help"),
            FIRST: partial(first_verdict, field)}, given.rounds)
        modules = imported(configured(Path(folder), field))
    given.out.write_text(page(taken, modules, given.rounds), "utf-8")


def page(taken: dict[str, Taken], modules: list[tuple[str, float]], rounds: int) -> str:
    added = (taken[IMPORT].wall - taken[EMPTY].wall) / 1e3
    first = taken[FIRST].wall / 1e3
    rows = [(name, times(over(t, taken[EMPTY])), spread(t.cpu), spread(t.wall)) for name, t in taken.items()]
    return f"""{head("Start-up and imports")}
{rounds} rounds of processes in turns, after one that brings the files into memory. Median, in brackets the lowest and
the highest tenth; ratios of processor time, round by round. After a boot, files come from the disk: that start was not
measured here (`alledge bench` right after booting a board).

## Targets

By the clock.

{table(TARGETS, [
    target(FIRST + ", s", f"under {MOST_VERDICT_S}", spread(first), float(np.median(first)) < MOST_VERDICT_S),
    target("`import alledge`, beyond an empty Python, s", f"under {MOST_IMPORT_S}", spread(added),
           float(np.median(added)) < MOST_IMPORT_S)])}

## Processes

{table(("what", "of an empty Python", "CPU ms", "wall ms"), rows)}

## What is imported until the first verdict

One start with `-X importtime`, which slows it down; a package with all its modules, without what they import in turn.

{table(("package", "ms"), [(name, f"{ms:.1f}") for name, ms in modules])}
"""


if __name__ == "__main__":
    main()
