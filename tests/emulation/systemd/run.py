"""Do the units that ship start, watch, reload, end and confine alledge under a real systemd? In a virtual machine.

    sudo nice .venv/bin/python tests/emulation/systemd/run.py [--image DIR] [--out FILE]

An x86-64 Debian 13 with its own kernel, emulated by QEMU (TCG: no KVM is needed) and without a network: installed into
from the file of `alledge device pack --board desktop`, started, and put through what guest.py beside this lists: a disk
that hangs, a camera, a clock that jumps and a memory stick included. Needs root, Debian's qemu-system-x86, e2fsprogs,
mtools and systemd, and a network for the pack; to make the image (kept in --image, 0.5 GB) also mmdebstrap.
Never start a systemd in a container or chroot that shares /tmp or /run with its machine: its tmpfiles empty them.
Writes docs/results/systemd.md; exit code 1 when a point does not hold.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TREE = HERE.parents[2]
sys.path.append(str(HERE.parent / "vm"))

import machine as machines  # noqa: E402
from image import make_image  # noqa: E402
from machine import Machine  # noqa: E402
from page import write_page  # noqa: E402

from alledge import reference  # noqa: E402
from alledge.bundle import Bundle, write_bundle  # noqa: E402
from alledge.signing import new_key  # noqa: E402

NEEDED = (*machines.NEEDED, "mformat", "mcopy", "systemctl")
STICK_MIB = 64
LIMIT_S = 4 * 3600.0  # for a machine that does not come to its end
CONFIG = "etc/alledge/config.toml"
RULE = "90-alledge-model.rules"  # of the boards; a desktop is installed without it
TRIGGER = '\n[trigger]\nname = "interval"\noptions = { seconds = 4 }\n'


def make_releases(work: Path) -> tuple[str, Path, Path]:
    """A key's public half, and the shipped model signed by it as two releases."""
    key, shipped = new_key(work / "lab.pem"), Bundle.open(reference.BUNDLE)
    members = {member.name: shipped.read(member.name) for member in shipped.manifest.members}
    first, second = (write_bundle(work / f"release-{number}.alledge",
                                  shipped.manifest.model_copy(update={"release": number}), members, key).path
                     for number in (1, 2))
    return key.public, first, second


def install(base: Path, tree: Path, work: Path, key: str, bundle: Path) -> None:
    """A copy of the system, installed into from a pack, as a card in a reader is; units are enabled."""
    subprocess.run(["cp", "--archive", base, tree], check=True)
    alledge, pack = [sys.executable, "-m", "alledge", "device"], work / "pack.pyz"
    subprocess.run([*alledge, "pack", "--board", "desktop", "--python", "3.13", "--bundle", bundle, "--trust", key,
                    "--out", pack], check=True, cwd=TREE)
    subprocess.run([*alledge, "install", "--board", "desktop", "--pack", pack, "--root", tree], check=True, cwd=TREE)
    # Which an installation on the machine itself does; its user may not, and would compile at every start.
    subprocess.run(["chroot", tree, "python3", "-m", "compileall", "-q", "/opt/alledge"], check=True)
    subprocess.run(["systemctl", "--root", tree, "enable", "alledge.service", "alledge-backup.timer"], check=True)
    shutil.copy(TREE / "firmware_configs/udev" / RULE, tree / "etc/udev/rules.d")
    text = (tree / CONFIG).read_text().replace('name = "terminal"', 'name = "none"')
    (tree / CONFIG).write_text(text + TRIGGER)


def make_stick(path: Path, bundle: Path) -> Path:
    """A FAT as `fatlabel` names it, with one bundle."""
    with path.open("wb") as file:
        file.truncate(STICK_MIB << 20)
    subprocess.run(["mformat", "-i", path, "-F", "-v", "ALLEDGE", "::"], check=True)
    subprocess.run(["mcopy", "-i", path, bundle, "::"], check=True)
    return path


def live(machine: Machine) -> list[dict[str, Any]]:
    """Its points; one that does not hold is added when it does not come to its end."""
    points = []
    for found in machine.lines(LIMIT_S):
        points.append(found)
        print(f"{'holds' if found['holds'] else 'DOES NOT HOLD'}: {found['what']}: {found['found']}", flush=True)
    if not points or points[-1]["what"] != "the machine":
        console = machine.console.read_text(errors="replace") if machine.console.exists() else ""
        print("\n".join(console.splitlines()[-30:]), file=sys.stderr)
        points.append({"what": "the machine comes to its end", "holds": False, "found": "its console is on stderr"})
    return points


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=Path.home() / ".cache" / "alledge-vm")
    parser.add_argument("--out", type=Path, default=TREE / "docs" / "results" / "systemd.md")
    asked = parser.parse_args()
    if absent := [tool for tool in NEEDED if shutil.which(tool) is None]:
        raise SystemExit(f"needs {', '.join(absent)}: apt install qemu-system-x86 e2fsprogs mtools")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="alledge-vm-") as name:
        work, program, tree = Path(name), Path(name) / "program", Path(name) / "tree"
        image = make_image(asked.image)
        key, first, second = make_releases(work)
        install(image.tree, tree, work, key, first)
        program.mkdir()
        shutil.copy(HERE / "guest.py", program)
        points = live(Machine(image, tree, work, program, make_stick(work / "stick.img", second)))
    qemu = subprocess.check_output([machines.QEMU, "--version"], text=True).split("(")[0].strip()
    write_page(asked.out, points, qemu, platform.machine(), (time.monotonic() - begun) / 60)
    print(f"{sum(found['holds'] for found in points)} of {len(points)} points hold: {asked.out}")
    return int(not all(found["holds"] for found in points))


if __name__ == "__main__":
    raise SystemExit(main())
