"""A clean Debian 12 becomes the device from a pack, without a network, and is itself again afterwards.

    sudo nice .venv/bin/python tests/emulation/install/run.py [--board rpi-cpu|desktop] [--pack FILE] [--drawn FILE]
                                                              [--out FILE]

rpi-cpu: Debian for arm64, emulated (qemu-user). desktop: Debian for x86-64, not emulated. On Linux 6.7 or newer on
x86-64 with Debian's apt and dpkg, and as root: an installation gives files to users. Python 3.11. It starts no service
and touches nothing outside a folder of its own. Without --pack one is made by `alledge device pack`, which needs a
network; nothing after it does. --drawn is a bundle that has learned drawn smears (`alledge demo --out demo` leaves
demo/bundles/cpu.alledge), for verdicts that are a class; the shipped model calls such fields inconclusive.
Writes docs/results/device-install-BOARD.md; exit code 1 when a point does not hold.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cage import run_caged
from page import Point, Proof, write_page
from system import QEMU, listing, make_system

from alledge.bundle import Bundle
from alledge.images import write_png
from alledge.labels import LABELS
from alledge.synthetic import draw_field

TREE = Path(__file__).parents[3]
# Board -> what its configuration needs and is not there without its hardware.
HARDWARE = {"rpi-cpu": {"camera picamera2", "display ssd1306", "trigger gpio", "status LED"}, "desktop": set[str]()}
# A board's own configuration asks for a button; this one for nothing.
SIMULATION = "/opt/alledge/lib/python3.11/site-packages/alledge/firmware_configs/desktop.toml"
BUNDLE = "/opt/alledge/first.alledge"
RUN = ("--frames", "8", "--display", "none", "--json")
PACK, DRAWN, FIELDS = "/root/pack.pyz", "/root/drawn.alledge", "/root/fields"
PROGRAM = "/opt/alledge/bin/alledge"
SAME = ("verdict", "reasons", "coverage")
Listing = dict[str, tuple[object, ...]]


class Board:
    """The system: every command runs caged, without a network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.qemu = root / QEMU if (root / QEMU).exists() else None

    def ask(self, *command: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command; killed (-9) after so many seconds."""
        print("$", *command, flush=True)
        started = time.monotonic()
        done = run_caged(self.root, *command, qemu=self.qemu, seconds=seconds)
        print(f"  code {done.returncode}, {time.monotonic() - started:.0f} s", flush=True)
        return done

    def pack(self, *arguments: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """What a newcomer types."""
        return self.ask("/usr/bin/python3", PACK, *arguments, seconds=seconds)


def differences(before: Listing, after: Listing) -> list[str]:
    """Paths that are not the same in both."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def prove(root: Path, name: str, kill_after: float) -> Proof:
    """All points, in the order in which a board would live through them."""
    board, points = Board(root), list[Point]()
    board.ask("/usr/bin/python3", "-c", "")  # whose first start leaves its byte code
    clean = listing(root)

    def point(what: str, holds: bool, found: str) -> None:
        print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {what}: {found}", flush=True)
        points.append(Point(what, holds, found))

    def same(what: str, before: Listing, allowed: str = "") -> None:
        changed = differences(before, listing(root))
        held = [path for path in changed if not (allowed and path.startswith(allowed))]
        point(what, not held, f"{len(before)} paths, {len(held)} differ{': ' + ', '.join(held[:5]) if held else ''}")

    dry = board.pack("install", "--dry-run")
    said = [line for line in dry.stdout.splitlines() if line]
    same("a dry run changes nothing", clean)
    killed = board.pack("install", seconds=kill_after)
    changed = differences(clean, listing(root))
    point(f"an installation is killed (-9) after {kill_after:g} s", killed.returncode == -9 and bool(changed),
          f"{len(changed)} paths were changed by then")
    board.pack("uninstall")
    same("`uninstall` after it brings back the clean system", clean)
    made = board.pack("install")
    changes = [line for line in said if not line.startswith("still to do") and "dry run" not in line]
    point("`install` carries out what the dry run named", made.stdout.splitlines()[:len(changes)] == changes,
          f"{len(changes)} changes; exit code {made.returncode} {'(hardware is missing)' * made.returncode}")
    installed = listing(root)
    again = board.pack("install")
    same(f"`install` again says {again.stdout.splitlines()[0]!r} and changes nothing", installed)
    checks = json.loads(board.ask(PROGRAM, "doctor", "--config", "/etc/alledge/config.toml", "--json").stdout)["checks"]
    lacking = {check["name"] for check in checks if check["needed"] and not check["ok"]}
    point("the doctor needs nothing but hardware", lacking == HARDWARE[name],
          f"lacks {', '.join(sorted(lacking)) or 'nothing'}")
    point("the goldens of the first model come out", any(c["ok"] and "goldens" in c["name"] for c in checks),
          next((c["found"] for c in checks if "goldens" in c["name"]), "none were replayed"))
    for bundle in (BUNDLE, *([DRAWN] if (root / DRAWN[1:]).exists() else [])):
        point(f"drawn fields get the verdicts that they get outside ({Path(bundle).name})", *judged(board, bundle))
    board.ask(PROGRAM, "device", "uninstall")
    same("`device uninstall` brings back the clean system and keeps the results", clean, "var/lib/alledge")
    point("the results are there", (root / "var/lib/alledge/results.db").is_file(), "var/lib/alledge/results.db")
    return Proof(name, kill_after, board.qemu is not None, points, checks, made.stdout)


def judged(board: Board, bundle: str) -> tuple[bool, str]:
    """Whether a bundle says the same of drawn fields in the cage as outside, and how far probabilities are apart."""
    place, database = board.root / bundle[1:], board.root.parent / f"{Path(bundle).stem}.db"
    there = fields(board.ask(PROGRAM, "run", bundle, "--config", SIMULATION, "--camera", f"file://{FIELDS}",
                             *RUN).stdout)
    here = fields(subprocess.run([sys.executable, "-m", "alledge", "run", place, "--camera",
                                  f"file://{board.root / FIELDS[1:]}", *RUN, "--results", database],
                                 capture_output=True, text=True, check=False).stdout)
    if not there or len(there) != len(here):
        return False, f"{len(there)} fields were judged there, {len(here)} outside"
    pairs, limit = list(zip(there, here, strict=True)), Bundle.open(place).manifest.tolerance
    equal = sum(all(a[name] == b[name] for name in SAME) for a, b in pairs)
    apart = [max(abs(a["probabilities"][label] - p) for label, p in b["probabilities"].items()) for a, b in pairs]
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(Counter(f["verdict"] for f in there).items()))
    return equal == len(pairs) and max(apart) <= limit, (
        f"{verdicts}; verdict, reasons and coverage of {equal} of {len(pairs)} equal; probabilities of "
        f"{apart.count(0)} equal in every bit, at most {max(apart):.2g} apart (allowed {limit:g})")


def draw(folder: Path) -> None:
    """Drawn smears as pictures: drawn on another processor, some of them would be other pictures."""
    for number in range(8):
        write_png(folder / f"{number}.png", draw_field(LABELS[number % len(LABELS)], 1 + number).rgb)


def fields(lines: str) -> list[dict[str, Any]]:
    """What a machine said of each field."""
    return [json.loads(line) for line in lines.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", choices=tuple(HARDWARE), default="rpi-cpu")
    parser.add_argument("--pack", type=Path, help="made before; else one is made")
    parser.add_argument("--drawn", type=Path, help="a bundle that has learned drawn smears")
    parser.add_argument("--kill-after", type=float, default=60.0, metavar="S", help="an installation is killed")
    parser.add_argument("--out", type=Path, help="else docs/results/device-install-BOARD.md")
    asked = parser.parse_args()
    out = asked.out or TREE / "docs" / "results" / f"device-install-{asked.board}.md"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="alledge-install-") as folder:
        work = Path(folder)
        root = make_system(work, "arm64" if asked.board == "rpi-cpu" else "amd64")
        if asked.pack is None:
            asked.pack = work / "pack.pyz"
            subprocess.run([sys.executable, "-m", "alledge", "device", "pack", "--board", asked.board, "--python",
                            "3.11", "--out", asked.pack], check=True)
        (root / "root").mkdir(exist_ok=True)
        shutil.copy(asked.pack, root / PACK[1:])
        draw(root / FIELDS[1:])
        if asked.drawn:
            shutil.copy(asked.drawn, root / DRAWN[1:])
        proof = prove(root, asked.board, asked.kill_after)
        write_page(out, proof, asked.pack.stat().st_size, (time.monotonic() - started) / 60)
    print(f"{sum(p.holds for p in proof.points)} of {len(proof.points)} points hold: {out}")
    sys.exit(not all(p.holds for p in proof.points))


if __name__ == "__main__":
    main()
