"""What do a full disk and a wrong clock do to a daemon at work?

    python benchmarks/daemon_faults.py [--seconds 2] [--cycles 20] [--clock 1000] [--seed 0]

Three daemons, each a real process with the tests' small network, an archive, a PNG display and a watchdog of 4 s:

1. Every k-th write and flush below its data folder fails (store_full.c, loaded before all other libraries), for several
   k, each for so many seconds, then none for a while. The daemon has to say `storage-failed`, in the journal, in
   state.json and on the screen, and go on by itself.
2. Its data folder is a tmpfs of 12 MB (as root; else left out), filled to the last byte and emptied, `--cycles` times.
   It has to say `storage-full` (with a floor of 1 MB; or `storage-failed` without a floor), and go on.
3. Its clock is set to anything, again and again (store_clock.c), while it stores `--clock` fields. Numbers, chain and
   every export have to be in the order of the fields.

At the end of each: it never ended, no result that was told is lost or doubled, integrity_check and the chain verify,
every picture is whole. Prints one JSON document; exit code 1 when not.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from mmap import mmap
from pathlib import Path
from typing import Any

from PIL import Image
from store_clock import MOMENTS, judged

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from alledge.device.store.rows import read_results  # noqa: E402
from alledge.device.store.verification import verify  # noqa: E402
from alledge.device.verified_archive import verify_archive  # noqa: E402
from tests.device.conftest import make_bundle, onnx_model  # noqa: E402
from tests.device.daemons import Process, write_config  # noqa: E402

HERE = Path(__file__).parent
EVERY = (1, 2, 3, 5, 7, 11, 17, 31, 64)
MEGABYTES, WITHIN_S = 12, 120.0  # only a failure takes so long
SMEARS = "synthetic://?seed=1&size=64"


class Control:
    """The numbers that daemon_faults.c follows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control"
        self.path.write_bytes(bytes(24))
        with self.path.open("r+b") as file:
            self._words = memoryview(mmap(file.fileno(), 24)).cast("l")

    def fail_every(self, k: int) -> None:
        """0 for none."""
        self._words[0] = k

    def set_clock(self, seconds: int) -> None:
        """By how much it is wrong."""
        self._words[1] = seconds

    @property
    def failed(self) -> int:
        """How many calls failed since the last `fail_every`."""
        return self._words[2]


def shims(folder: Path) -> str:
    """The compiled libraries, as LD_PRELOAD takes them."""
    built = []
    for name in ("store_full", "store_clock", "daemon_faults"):
        built.append(str(folder / f"{name}.so"))
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built[-1], HERE / f"{name}.c", "-ldl", "-lpthread"],
                       check=True)
    return " ".join(built)


@contextmanager
def at_work(folder: Path, preload: str, every_s: float | None, **more: Any) -> Iterator[tuple[Process, Control]]:
    """A daemon that has told a result, and what goes wrong for it. It must end as it should."""
    control, data = Control(folder), folder / "data"
    data.mkdir(exist_ok=True)
    bundle = make_bundle(folder / "small.alledge", onnx_model())
    config = write_config(folder, bundle, SMEARS, every_s, **{"database": str(data / "results.db"),
                                                             "archive": str(data / "captures"), **more})
    if not more:
        config.write_text(config.read_text() + '[sample]\nid = "S-0001"\n')
    with Process(config, watchdog_s=4.0, LD_PRELOAD=preload, FAULTS_CONTROL=str(control.path),
                 FULL_UNDER=str(data)) as daemon:
        daemon.event("result")
        yield daemon, control
        if daemon.end() != 0:
            raise SystemExit(f"the daemon ended badly: {daemon.lines[-3:]}")


def reached(holds: Callable[[], object], seconds: float = WITHIN_S) -> bool:
    """Whether something comes to hold in time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(holds())


def said(daemon: Process, faults: tuple[str, ...]) -> dict[str, bool]:
    """Where one of these faults is told of now; it lasts while this looks."""
    titles = [fault.replace("-", " ").capitalize() for fault in faults]

    def on_screen() -> bool:
        with suppress(OSError, SyntaxError), Image.open(daemon.folder / "screen.png") as image:
            return any(title in str(image.info["Description"]) for title in titles)
        return False

    return {"in_state": reached(lambda: any(row["fault"] in faults for row in daemon.state()["faults"])),
            "on_screen": reached(on_screen)}


def goes_on(daemon: Process) -> bool:
    """Whether further results come, and no fault of storage is left."""
    before = len(daemon.lines)
    return reached(lambda: any(line["event"] == "result" for line in daemon.lines[before:])
                   and not any(row["fault"].startswith("storage") for row in daemon.state()["faults"]))


def failing_writes(folder: Path, preload: str, seconds: float) -> dict[str, Any]:
    found = []
    with at_work(folder, preload, 0.1) as (daemon, control):
        for k in EVERY:
            before = len(daemon.lines)
            control.fail_every(k)
            told = said(daemon, ("storage-failed",)) if k <= 2 else {}
            time.sleep(seconds)
            failed = control.failed
            control.fail_every(0)
            events = [line["event"] for line in daemon.lines[before:]]
            found.append({"k": k, "failed_calls": failed, "results_told": events.count("result"),
                          "faults_told": events.count("fault-began"), **told, "recovered": goes_on(daemon)})
    return {"by_k": found, **kept(daemon)}


def full_disk(folder: Path, preload: str, cycles: int, floor: int) -> dict[str, Any] | None:
    data = folder / "data"
    data.mkdir(parents=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", data]).returncode:
        return None
    found = {"floor_mb": floor, "cycles": cycles, "said_in_state": 0, "said_on_screen": 0, "recovered": 0}
    try:
        with at_work(folder, preload, 0.1, floor=floor) as (daemon, _):
            for _ in range(cycles):
                with suppress(OSError), (data / "filler").open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass
                told = said(daemon, ("storage-full", "storage-failed"))
                found["said_in_state"] += told["in_state"]
                found["said_on_screen"] += told["on_screen"]
                (data / "filler").unlink()
                found["recovered"] += goes_on(daemon)
            names = [line["fault"] for line in daemon.lines if line["event"] == "fault-began"]
        return {**found, **{name: names.count(name) for name in sorted(set(names))}, **kept(daemon)}
    finally:
        subprocess.run(["umount", data], check=True)


def wrong_clock(folder: Path, preload: str, count: int, chance: random.Random) -> dict[str, Any]:
    with at_work(folder, preload, None) as (daemon, control):
        began, at, jumps, stored, seen = time.time(), time.time(), 0, 0, 0
        while stored < count and daemon.process.poll() is None:
            fresh = daemon.lines[seen:]
            seen, stored = seen + len(fresh), stored + sum(line["event"] == "result" for line in fresh)
            at = chance.choice((*MOMENTS, at + 1, at - 1, at + 3600, at - 3600, at - 10**8, began))
            control.set_clock(int(max(at, 0) - began))
            jumps += 1
            time.sleep(0.02)
    times = [line["result"]["taken_at"] for line in daemon.lines if line["event"] == "result"]
    sources = [line["result"]["source"] for line in daemon.lines if line["event"] == "result"]
    return {"results": len(times), "jumps": jumps, "earliest": min(times), "latest": max(times),
            "clock_went_back": sum(b < a for a, b in pairwise(times)),
            **judged(folder / "data" / "results.db", sources, folder), **kept(daemon)}


def kept(daemon: Process) -> dict[str, Any]:
    """What was told, against the database and the archive."""
    data = daemon.folder / "data"
    told = [(line["result"]["sequence"], line["result"]["hash"]) for line in daemon.lines if line["event"] == "result"]
    rows = list(read_results(data / "results.db"))
    links = {row.sequence: row.hash for row in rows}
    return {"acknowledged": len(told), "rows": len(rows), "lost": sum(links.get(n) != link for n, link in told),
            "doubled": len(rows) - len({row.source for row in rows}) + len(told) - len(set(told)),
            "faults": [*verify(data / "results.db").faults,
                       *verify_archive(data / "results.db", data / "captures")],
            "stuck": sum(line["event"] == "stuck" for line in daemon.lines)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--clock", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        preload = shims(root)
        for part in ("writes", "clock"):
            (root / part).mkdir()
        found: dict[str, Any] = {"every_kth_write_fails": failing_writes(root / "writes", preload, options.seconds)}
        full = [full_disk(root / f"full{floor}", preload, options.cycles, floor) for floor in (1, 0)]
        found["full_file_system"] = [part for part in full if part is not None]
        found["wrong_clock"] = wrong_clock(root / "clock", preload, options.clock, random.Random(options.seed))
    print(json.dumps(found))
    failing, full, clock = found["every_kth_write_fails"], found["full_file_system"], found["wrong_clock"]
    sound = all(not part.get(key) for part in (failing, *full, clock) for key in ("lost", "doubled", "faults"))
    return int(not (sound and all(row["recovered"] for row in failing["by_k"])
                    and all(part["recovered"] == part["cycles"] for part in full)
                    and all(value for key, value in clock.items() if key.endswith(("in_order", "verifies")))))


if __name__ == "__main__":
    raise SystemExit(main())
