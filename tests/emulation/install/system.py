"""A Debian 12 as a Raspberry Pi's card has it, in a folder: unpacked, with users and compiled Python."""

import compileall
import hashlib
import os
import shutil
import stat
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "arm64"))
from userland import DEBIANS, fetch_qemu, unpack_system

# sysusers by itself: Raspberry Pi OS has all of systemd, of which an installation asks for nothing else.
PACKAGES = ("base-files", "base-passwd", "coreutils", "dash", "libstdc++6", "python3", "systemd-standalone-sysusers")
CONFIG_TXT = "# stand-in for Raspberry Pi OS's\n#dtparam=i2c_arm=on\n#dtparam=spi=on\ndtparam=audio=on\n"
QEMU = Path("usr/bin/qemu-aarch64")
_LIVE = ("dev", "proc", "sys", "tmp")  # mounted over, or anybody's


def make_system(work: Path, architecture: str) -> Path:
    """The system's folder; with QEMU in it when it is for arm64."""
    root = unpack_system(work, DEBIANS[0], architecture, PACKAGES)
    if architecture == "arm64":
        shutil.copy(fetch_qemu(work), root / QEMU)
    for name in ("passwd", "group"):  # what base-passwd's configuration does
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "boot/firmware").mkdir(parents=True)
    (root / "boot/firmware/config.txt").write_text(CONFIG_TXT)
    _compile(root / "usr/lib" / f"python{DEBIANS[0].python}")
    return root


def _compile(library: Path) -> None:
    """As Debian's python3-minimal does when it is configured; the byte code is the same on every processor."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != DEBIANS[0].python:
        raise SystemExit(f"expected to be run by Python {DEBIANS[0].python}, whose byte code Debian 12's Python reads")
    compileall.compile_dir(library, quiet=2, stripdir=str(library.parents[2]), prependdir="/")


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    """Path -> kind and mode, user, group, content's hash or link's end, of everything that is on the card."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in _LIVE]
        for name in [*folders, *names]:
            path = Path(folder) / name
            about = path.lstat()
            if stat.S_ISLNK(about.st_mode):
                content = os.readlink(path)
            else:
                content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else ""
            found[str(path.relative_to(root))] = (about.st_mode, about.st_uid, about.st_gid, content)
    return found
