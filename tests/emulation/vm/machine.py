"""A virtual machine that is started once and tells lines of JSON.

Its own kernel and its own disks: nothing of this machine's is mounted in it, and it has no network.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

from image import Image

QEMU = "qemu-system-x86_64"
NEEDED = (QEMU, "mke2fs")
# While it works its clock counts its own instructions, 4 ns each, so that other work on this machine takes no time of
# it: else what WatchdogSec measures would be the load here. That is slower than any of the boards.
_SHIFT = 2
_ROOT_MIB, _STATE_MIB, _SPARE_MIB = 4096, 2048, 64  # files with holes


class Machine:
    """Disks in `work`: the root, results, a program.

    Args:
        tree: the root's files.
        program: folder of files, of which `guest.py` is run.
        stick: image of a memory stick, which is in the socket and not known to the kernel until the guest lets it in.
    """

    def __init__(self, image: Image, tree: Path, work: Path, program: Path, stick: Path | None = None) -> None:
        self._image, self._stick = image, stick
        self.console = work / "console.log"
        self._disks = [work / f"{label}.img" for label in ("root", "state", "program")]
        size = sum(file.stat().st_size for file in program.rglob("*")) >> 20
        for path, files, mib in zip(self._disks, (tree, None, program), (_ROOT_MIB, _STATE_MIB, size + _SPARE_MIB),
                                    strict=True):
            make_disk(path, mib, files)

    def lines(self, limit_s: float) -> Iterator[dict[str, Any]]:
        """From power on until it powers itself off: what its program tells."""
        # A standard input that has ended is nobody listening to QEMU: the guest's first line would wait for ever.
        with subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
            watch = Timer(limit_s, qemu.kill)
            watch.start()
            try:
                assert qemu.stdout is not None
                for line in qemu.stdout:
                    yield json.loads(line)
            finally:
                watch.cancel()
                qemu.kill()

    def command(self) -> list[str | Path]:
        """QEMU's line. KVM is not asked for: it would have a clock that runs on while others work."""
        command: list[str | Path] = [
            QEMU, "-accel", "tcg", "-icount", f"shift={_SHIFT}", "-cpu", "max", "-smp", "1", "-m", "1024",
            "-nodefaults", "-no-reboot", "-nic", "none", "-display", "none", "-serial", f"file:{self.console}",
            "-kernel", self._image.kernel, "-initrd", self._image.initrd,
            "-append", "root=/dev/vda rw console=ttyS0 panic=-1 usbcore.authorized_default=0",
            "-device", "virtio-serial-pci", "-chardev", "stdio,id=told,signal=off",
            "-device", "virtserialport,chardev=told,name=told", "-device", "qemu-xhci"]
        for disk in self._disks:
            command += ["-drive", f"if=virtio,format=raw,cache=unsafe,file={disk}"]
        if self._stick is not None:
            command += ["-drive", f"if=none,id=stick,format=raw,file={self._stick}",
                        "-device", "usb-storage,drive=stick"]
        return command


def make_disk(path: Path, mib: int, files: Path | None = None) -> None:
    """An ext4 file system in a file, labelled with the file's name, with these files in it."""
    path.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", path.stem, *(["-d", files] if files else []), path, f"{mib}M"],
                   check=True)
