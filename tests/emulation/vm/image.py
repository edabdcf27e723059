"""A Debian 13 (x86-64) with a kernel and a systemd of its own, that is only ever started in QEMU.

Made by mmdebstrap in a mount namespace. Nothing of alledge is in it: who starts it puts that into a copy.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SUITE = "trixie"
PACKAGES = ("systemd-sysv", "udev", "dbus", "linux-image-amd64", "initramfs-tools", "kmod", "procps", "e2fsprogs",
            "python3", "libstdc++6", "python3-libcamera", "libcamera-ipa")
NEEDED = ("mmdebstrap", "unshare")
# The only thing in it that a board has not: runs what the disk labelled `program` brings, and ends the machine.
PROOF = """[Unit]
Description=What this machine was started for
[Service]
ExecStart=/bin/sh -c 'mount -o ro LABEL=program /mnt && python3 /mnt/guest.py > /dev/virtio-ports/told'
ExecStopPost=/bin/systemctl --no-block poweroff
StandardError=tty
TTYPath=/dev/ttyS0
"""
FSTAB = "LABEL=state /var/lib/alledge ext4 defaults 0 2\n"


@dataclass(frozen=True)
class Image:
    """A root file system as a folder, and what boots it."""

    tree: Path
    kernel: Path
    initrd: Path


def make_image(folder: Path) -> Image:
    """The image in `folder`, or the one that an earlier call left there."""
    tree, half = folder / "tree", folder / "half"
    if not tree.exists():
        if absent := [tool for tool in NEEDED if shutil.which(tool) is None] + ["root"] * (os.geteuid() != 0):
            raise SystemExit(f"making the image needs a network and {', '.join(absent)}, which is not here")
        shutil.rmtree(half, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        # --mount: should this end early, what was mounted below the folder goes with the namespace.
        subprocess.run(["unshare", "--mount", "--propagation=private", "mmdebstrap", "--quiet", "--mode=root",
                        "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, half], check=True)
        furnish(half)
        half.rename(tree)
    (kernel,), (initrd,) = (sorted((tree / "boot").glob(name)) for name in ("vmlinuz-*", "initrd.img-*"))
    return Image(tree, kernel, initrd)


def furnish(tree: Path) -> None:
    """Its name, a disk for results, and the unit that runs the program."""
    (tree / "etc/hostname").write_text("emulated\n")
    (tree / "etc/fstab").write_text(FSTAB)
    (tree / "var/lib/alledge").mkdir(parents=True)
    units = tree / "etc/systemd/system"
    (units / "proof.service").write_text(PROOF)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/proof.service").symlink_to("/etc/systemd/system/proof.service")
