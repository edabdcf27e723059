"""What does a power cut leave of installed models? Plays every write of installations back up to a random moment.

    python benchmarks/slot_power.py [--cuts 1000] [--seed 0] [--careless]

As store_power.py, with its library (compiled with cc): each write, truncation, flush, new name and removal below the
state folder is logged while release 2 is installed over release 1, release 3 over that, and rolled back. The power is
then cut at random places of that log: what was written after a file's last flush is there or not, write by write and
sector by sector; names after a folder's last flush are there up to some point. Then a device starts, and must run a
bundle that verifies, signed by the trusted key: what was last reported as kept before the cut, or what came after it.
The log's chain must verify, and another bundle must be installable. The health check is a stand-in, which says that all
is well: what is cut here is the disk.

--careless is the control: the same without flushes; something must be lost.
Prints one JSON document. Exit code 1 when anything was lost.
"""

import argparse
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from slot_kills import FIT, Lab, make_lab
from store_power import play_back, read_log

from alledge.bundle import Bundle
from alledge.device import settling, update
from alledge.device.settling import at_start
from alledge.device.slots import Slots, current
from alledge.errors import AlledgeError

WORSE = ("not_verified", "lost", "chain_broken", "not_installable")
RUNS = [1, 2, 3, 2]  # releases that are run once so many works were reported; before the first, none may be


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--careless", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    update.check_health = lambda *ignored: FIT
    settling.settle.__defaults__ = (update.check_health,)
    if options.child:
        return work(options.child, options.careless)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root, library = folder / "disk", folder / "store_power.so"
        root.mkdir()
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library,
                        Path(__file__).with_name("store_power.c"), "-ldl", "-lpthread"], check=True)
        subprocess.run([sys.executable, __file__, "--child", folder, *(["--careless"] if options.careless else [])],
                       check=True, env={**os.environ, "LD_PRELOAD": str(library), "STORE_LOG": str(folder / "log"),
                                        "STORE_LOG_ROOT": str(root), "XDG_STATE_HOME": str(root)})
        found = cut_again_and_again(folder, root, options.cuts, random.Random(options.seed))
    print(json.dumps(found))
    return int(any(found[name] for name in WORSE))


def work(folder: Path, careless: bool) -> int:
    """Install three times and roll back once; tell after each."""
    tell = ctypes.CDLL(None).acknowledged
    if careless:
        os.fsync = lambda descriptor: None
    lab = make_lab(folder)
    (folder / "key").write_text(lab.config.bundle.trusted_keys[0])
    for number, release in enumerate((1, 2, 3), 1):
        update.install(lab.config, lab.bundles[release].path)
        tell(ctypes.c_long(number))
    update.roll_back()
    tell(ctypes.c_long(4))
    return 0


def cut_again_and_again(folder: Path, root: Path, cuts: int, chance: random.Random) -> dict[str, int]:
    log, key = read_log(folder / "log"), (folder / "key").read_text()
    lab = Lab(Lab.device(key), {n: Bundle.open(folder / f"{n}.alledge") for n in (1, 2, 3)})
    found = {"writes_logged": sum(r.kind == "w" for r in log), "flushes_logged": sum(r.kind == "s" for r in log),
             "cuts": 0, "within_an_installation": 0, **dict.fromkeys(WORSE, 0)}
    ends = [i for i, r in enumerate(log) if r.kind == "a"]
    for number in range(cuts):
        end, disk = chance.randint(1, len(log)), folder / f"cut{number}"
        play_back(log[:end], disk, root, root.stat().st_ino, chance)
        done = sum(i < end for i in ends)
        found["cuts"] += 1
        found["within_an_installation"] += end - 1 not in ends
        judge(lab, disk, done, found)
        shutil.rmtree(disk)
    return found


def judge(lab: Lab, disk: Path, done: int, found: dict[str, int]) -> None:
    os.environ["XDG_STATE_HOME"] = str(disk)
    path = at_start(lab.config).bundle.path
    allowed = {None, 1} if done == 0 else {RUNS[done - 1], RUNS[min(done, 3)]}
    try:
        release = None if path is None else Bundle.open(path, lab.config.bundle.trusted_keys).manifest.release
        found["lost"] += release not in allowed
    except AlledgeError:
        found["not_verified"] += 1
    found["chain_broken"] += bool(Slots(disk / "alledge").log.faults)
    try:
        update.install(lab.config, lab.bundles[3].path)
        kept = current(disk / "alledge")
        found["not_installable"] += kept is None or Bundle.open(kept).id != lab.bundles[3].id
    except AlledgeError:
        found["not_installable"] += 1


if __name__ == "__main__":
    raise SystemExit(main())
