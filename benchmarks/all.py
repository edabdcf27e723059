"""Every table of the benchmarks of speed that need no private data and no hours: `make bench`.

    python benchmarks/all.py [--only NAME ...] [--quick] [--out docs/results]

Each script runs by itself and writes its page into the folder; `again.py` compares two folders. --quick takes the
smallest settings, to see that all of it runs: its figures are worth nothing. docs/benchmarks.md has the benchmarks that
are not here, with what they need. Exit code 1 when one fails; the others are run all the same.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """A script of this folder. quick: its smallest settings; page: what it writes."""

    script: str
    quick: tuple[str, ...]
    page: str


BENCHMARKS = {one.script: one for one in (
    Benchmark("segmentation", ("--sizes", "224x224", "--rounds", "1", "--fields", "2"), "segmentation.md"),
    Benchmark("steps", ("--rounds", "1"), "steps.md"),
    Benchmark("engines", ("--rounds", "1"), "engines.md"),
    Benchmark("capture", ("--sizes", "640x480", "--rounds", "1"), "capture.md"),
    Benchmark("startup", ("--rounds", "1"), "startup.md"),
    Benchmark("results_sink", ("--rounds", "1", "--counted", "0"), "results-sink.md"),
    Benchmark("worker", ("--rounds", "20"), "worker.md"),
    Benchmark("cost", ("--rounds", "1"), "cost.md"),
    Benchmark("runtime", ("--fields", "30", "--rounds", "1", "--steady", "510"), "runtime.md"),
)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME",
                        help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--masks", type=Path, help="for `segmentation`: images with hand-made nucleus masks")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in given.only if not written(BENCHMARKS[name], given)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def written(benchmark: Benchmark, given: argparse.Namespace) -> bool:
    """Run one; say how long it took."""
    asked = [*(benchmark.quick if given.quick else ()), "--out", str(given.out / benchmark.page)]
    if given.masks and benchmark.script == "segmentation":
        asked += ["--masks", str(given.masks)]
    began = monotonic()
    done = subprocess.run([sys.executable, str(HERE / f"{benchmark.script}.py"), *asked], check=False,
                          stdout=subprocess.DEVNULL)
    print(f"{given.out / benchmark.page}: {monotonic() - began:.0f} s{' and failed' if done.returncode else ''}",
          flush=True)
    return not done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
