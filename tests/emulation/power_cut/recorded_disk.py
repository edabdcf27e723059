"""A disk with a file system that this machine's own kernel writes, and a log of every request that reaches the disk.

QEMU's storage daemon serves a raw image through FUSE and logs each request (`blklogwrites`) before it answers; a loop
device makes a disk of that, and the kernel's ext4 does the rest. Requests come one at a time.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from write_log import WriteLog

MIB = 32
TOOLS = ("qemu-storage-daemon", "mke2fs", "e2fsck", "losetup", "mount", "umount", "unshare")
_LOG_GIB = 4  # sparse: room for what is written
_WAIT_S = 30
_MENDED = 1 | 2  # e2fsck(8): errors corrected, and a restart is due


@dataclass(frozen=True)
class RecordedDisk:
    """Where the file system is, what the disk held to begin with, and its log."""

    folder: Path
    begin: bytes
    log: WriteLog


@contextmanager
def recorded(work: Path) -> Iterator[RecordedDisk]:
    """A new, empty file system, mounted below `work`; unmounted, and its log whole, at the end."""
    image, log, served, folder = work / "disk.img", work / "log.img", work / "served.img", work / "disk"
    folder.mkdir(parents=True)
    for path, size in ((image, f"{MIB}M"), (log, f"{_LOG_GIB}G"), (served, "0")):
        subprocess.run(["truncate", "-s", size, path], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J",
                    "size=4", image], check=True)
    begin = image.read_bytes()
    recorder = ("driver=blklogwrites,node-name=recorded,file=data,log=log,log-sector-size=512,"
                "log-super-update-interval=1")
    with subprocess.Popen(["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=data,filename={image}",
                           "--blockdev", f"driver=file,node-name=log,filename={log}", "--blockdev", recorder,
                           "--export", f"type=fuse,id=e,node-name=recorded,mountpoint={served},writable=on"]) as server:
        try:
            _wait_for(served, len(begin))
            disk = RecordedDisk(folder, begin, WriteLog(log))
            with mounted(served, folder):
                yield disk
            disk.log.follow()
            disk.log.close()
        finally:
            server.terminate()


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    """Mount an ext4 image, which replays its journal, and unmount it.

    Raises:
        subprocess.CalledProcessError: when the kernel refuses it.
    """
    subprocess.run(["mount", "-t", "ext4", "-o", "loop,nodiscard", image, folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def sound(image: Path) -> bool:
    """Whether e2fsck finds nothing to complain about in an unmounted file system."""
    return subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, check=False).returncode == 0


def repair(image: Path) -> str:
    """What e2fsck says while it repairs a file system that the kernel refuses, as someone would with the card at hand.

    Raises:
        subprocess.CalledProcessError: when there is nothing left to repair.
    """
    done = subprocess.run(["e2fsck", "-f", "-y", image], capture_output=True, text=True, check=False)
    if done.returncode & ~_MENDED:
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    return done.stdout + done.stderr


def missing() -> list[str]:
    """Tools and devices that are not here."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return absent + [device for device in ("/dev/fuse", "/dev/loop-control") if not Path(device).exists()]


def _wait_for(served: Path, size: int) -> None:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        with suppress(OSError):
            if served.stat().st_size == size:
                return
        time.sleep(0.05)
    raise SystemExit(f"qemu-storage-daemon did not serve {served} within {_WAIT_S} s")
