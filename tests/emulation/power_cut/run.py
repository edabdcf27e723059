"""What does a power cut leave on a real file system? Cuts the log of a disk's writes at random places.

    TMPDIR=/dev/shm nice python tests/emulation/power_cut/run.py [--results 400] [--cuts 400] [--install-cuts 200]
                                                                 [--seed 0] [--careless]

Needs Linux, root, loop devices, FUSE and `qemu-storage-daemon` (Debian: qemu-system-common, e2fsprogs). Two disks are
recorded: on one a daemon judges drawn fields, archives them and tells each result; on the other `alledge model install`
puts three releases over each other, with its real health check, and `alledge model rollback` goes back. Beside each
result told, and each command that ended, stands how many requests the disk had had by then.

Then the power goes after a random request: what was written after the last flush is there or not, write by write and
sector by sector. This machine's kernel mounts what is left, and replays its journal. Every result told before the cut
must be there with its hash and picture, the chain verify, the next result be kept; a device must start with a verified
model, the last one reported as kept or the next, and take another. e2fsck must find nothing. A disk that the kernel
refuses is counted, repaired by e2fsck and held to the same.

--careless is the control: the same, and the program's flushes do nothing (no_flush.c, compiled with cc); something must
be lost. The kernel still flushes for itself, so the file system stays sound.
Prints one JSON document. Exit code 1 when anything was lost.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

TREE = Path(__file__).parents[3]
sys.path.insert(0, str(TREE / "benchmarks"))

import numpy as np  # noqa: E402
import slot_power  # noqa: E402
import store_power  # noqa: E402
from recorded_disk import RecordedDisk, missing, mounted, recorded, repair, sound  # noqa: E402
from slot_kills import FIT, Lab, make_lab  # noqa: E402
from write_log import Disk  # noqa: E402

from alledge.device import settling, update  # noqa: E402
from alledge.device.store.rows import read_results  # noqa: E402
from alledge.images import write_png  # noqa: E402
from alledge.synthetic import draw_field  # noqa: E402

ALONE = "ALLEDGE_POWER_CUT"  # set in the mount namespace, where nobody else sees these disks
UNSOUND = ("not_repairable", "not_readable", "not_sound")
TORN = "Superblock checksum does not match superblock"  # e2fsck's words
Judge = Callable[[Path, int, dict[str, int]], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=400)
    parser.add_argument("--cuts", type=int, default=400)
    parser.add_argument("--install-cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--careless", action="store_true")
    asked = parser.parse_args()
    if absent := missing() + ([] if os.geteuid() == 0 else ["root"]):
        raise SystemExit(f"this needs what is not here: {', '.join(absent)}")
    if ALONE not in os.environ:
        os.environ[ALONE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation=private", sys.executable, *sys.argv])
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="alledge-power-cut-") as name:
        program = careless(Path(name)) if asked.careless else dict(os.environ)
        found = {"results": cut_results(Path(name) / "results", program, asked.results, asked.cuts, chance),
                 "models": cut_models(Path(name) / "models", program, asked.install_cuts, chance)}
    print(json.dumps(found))
    worse = {"results": store_power.WORSE, "models": slot_power.WORSE}
    return int(any(found[part][name] for part in found for name in (*worse[part], *UNSOUND)))


def careless(folder: Path) -> dict[str, str]:
    """The environment of a program whose flushes do nothing."""
    library = folder / "no_flush.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("no_flush.c")], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def cut_results(work: Path, program: dict[str, str], results: int, cuts: int, chance: random.Random) -> dict[str, int]:
    """A daemon's life on a recorded disk, and cuts of it."""
    with recorded(work) as disk:
        told = live(work, disk, results, program)
        whole = {row.sequence: row for row in read_results(disk.folder / "results.db")}

    def judge(folder: Path, end: int, found: dict[str, int]) -> None:
        kept = {sequence: whole[sequence] for sequence, by in told.items() if by <= end}
        found["acknowledged_before_cuts"] += len(kept)
        store_power.judge(folder, kept, found)

    found = dict.fromkeys(("acknowledged_before_cuts", *store_power.WORSE), 0)
    return {"acknowledged": len(told), **cut_again_and_again(work, disk, cuts, chance, judge, found)}


def live(work: Path, disk: RecordedDisk, results: int, program: dict[str, str]) -> dict[int, int]:
    """Run `alledge daemon` over so many fields: sequence -> requests that the disk had had by the time it was told."""
    config = work / "scope.toml"
    draw(work / "fields", results)
    config.write_text(f"""[camera]\nuri = "file://{work}/fields"\n[display]\nname = "none"
[results]\nfloor = 0\ndatabase = "{disk.folder}/results.db"\narchive = "{disk.folder}/captures"\n""")
    told: dict[int, int] = {}
    with subprocess.Popen([sys.executable, "-m", "alledge", "daemon", "--config", config], text=True,
                          stdout=subprocess.PIPE, env={**program, "XDG_STATE_HOME": str(work / "state")}) as daemon:
        assert daemon.stdout is not None
        try:
            for line in daemon.stdout:
                event = json.loads(line)
                if event["event"] == "result":
                    told[event["result"]["sequence"]] = disk.log.follow()
        except BaseException:  # else it would keep the disk from being unmounted
            daemon.kill()
            raise
    if daemon.returncode or len(told) < results:
        raise SystemExit(f"the daemon ended with {daemon.returncode} after {len(told)} results")
    return told


def draw(folder: Path, count: int) -> None:
    """Drawn fields, no two of which are the same picture."""
    folder.mkdir()
    fields = [draw_field("pre_b", seed, 96).rgb for seed in range(8)]
    for number in range(count):
        write_png(folder / f"{number:05}.png", np.roll(fields[number % len(fields)], number, axis=0))


def cut_models(work: Path, program: dict[str, str], cuts: int, chance: random.Random) -> dict[str, int]:
    """Three installations and a rollback on a recorded disk, and cuts of them."""
    work.mkdir()
    lab, ends = make_lab(work), []
    config = work / "scope.toml"
    config.write_text(f"""[camera]\nuri = "synthetic://?seed=1"\n[display]\nname = "none"
[results]\nfloor = 0\n[bundle]\ntrusted_keys = ["{lab.config.bundle.trusted_keys[0]}"]\n""")
    with recorded(work / "recorded") as disk:
        for command in (*(["install", lab.bundles[n].path, "--config", config] for n in (1, 2, 3)), ["rollback"]):
            subprocess.run([sys.executable, "-m", "alledge", "model", *command], check=True, stdout=subprocess.DEVNULL,
                           env={**program, "XDG_STATE_HOME": str(disk.folder)})
            ends.append(disk.log.follow())
    update.check_health = lambda *ignored, **more: FIT  # what is cut is the disk; the model was checked when installed
    settling.settle.__defaults__ = (update.check_health,)

    def judge(folder: Path, end: int, found: dict[str, int]) -> None:
        found["within_a_command"] += end not in ends
        slot_power.judge(Lab(lab.config, lab.bundles), folder, sum(by <= end for by in ends), found)

    found = dict.fromkeys(("within_a_command", *slot_power.WORSE), 0)
    return cut_again_and_again(work / "recorded", disk, cuts, chance, judge, found)


def cut_again_and_again(work: Path, disk: RecordedDisk, cuts: int, chance: random.Random, judge: Judge,
                        found: dict[str, int]) -> dict[str, Any]:
    """Judge the file system after each of so many cuts: after a write, so that there is something to lose."""
    entries = disk.log.entries
    places = sorted(chance.choices([i + 1 for i, entry in enumerate(entries) if not entry.flush], k=cuts))
    held, image, folder = Disk(disk.begin, entries), work / "cut.img", work / "cut"
    folder.mkdir()
    found |= {"requests": len(entries), "flushes": sum(entry.flush for entry in entries), "cuts": 0,
              **dict.fromkeys(("not_mountable", "of_these_superblock_torn", *UNSOUND), 0)}
    for end in places:
        image.write_bytes(held.cut(end, chance))
        found["cuts"] += 1
        if found["cuts"] % 20 == 0:
            print(f"{found['cuts']} of {cuts} cuts", file=sys.stderr, flush=True)
        if not _judged(image, folder, end, judge, found):
            found["not_mountable"] += 1
            try:
                found["of_these_superblock_torn"] += TORN in repair(image)
                found["not_repairable"] += not _judged(image, folder, end, judge, found)
            except subprocess.CalledProcessError:
                found["not_repairable"] += 1
        found["not_sound"] += not sound(image)
    return {**found, "writes_dropped": held.dropped, "writes_torn": held.torn}


def _judged(image: Path, folder: Path, end: int, judge: Judge, found: dict[str, int]) -> bool:
    """Judge what is on a disk; False when the kernel does not mount it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(mounted(image, folder))
        except subprocess.CalledProcessError:
            return False
        try:
            judge(folder, end, found)
        except OSError:
            found["not_readable"] += 1
    return True


if __name__ == "__main__":
    raise SystemExit(main())
