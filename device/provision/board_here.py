"""Whether this machine is the board it is to be made into, and telling its running system what changed."""

import os
import platform
import subprocess
from pathlib import Path

from alledge.errors import UsageError

from .boards import Board, System
from .tree import Tree

_SYSTEMD = Path("/run/systemd/system")
_RELOAD = (["systemctl", "daemon-reload"], ["udevadm", "control", "--reload-rules"],
           ["systemctl", "try-restart", "alledge.service"])
_STOP = ["systemctl", "stop", "alledge.service", "alledge-backup.timer", "alledge-drop.path", "alledge-clocks.service"]


def check_machine(board: Board, tree: Tree) -> None:
    """Refuse to make a machine into another board. A tree other than "/" is not asked what it is.

    Raises:
        UsageError: saying what is expected and what this is.
    """
    if not tree.live:
        if not tree.root.is_dir():
            raise UsageError(f"--root: expected a folder with a system in it, received {tree.root}")
        return
    if platform.machine() != board.machine:
        raise UsageError(f"--board {board.name}: expected {board.machine} ({board.title}), this system is "
                         f"{platform.machine()}; prepare another system's files with --root DIR")
    model = tree.text("/proc/device-tree/model").strip("\0\n ")
    if model and board.model not in model:
        raise UsageError(f"--board {board.name}: expected a {board.title}, this is a {model}")


def check_may_write(tree: Tree) -> None:
    """Refuse before the first change what would fail at it.

    Raises:
        UsageError: when this system is to be changed by somebody other than root.
    """
    if tree.live and os.geteuid() != 0:
        raise UsageError("expected root, who alone may change this system: put sudo before the command, or say "
                         "--dry-run or --root DIR")


def check_library(system: System, glibc: int, tree: Tree) -> None:
    """Refuse wheels that ask for a newer C library than the system has.

    Raises:
        UsageError: naming both.
    """
    name, version = platform.libc_ver()
    if tree.live and name == "glibc" and int(version.split(".")[1]) < glibc:
        raise UsageError(f"the wheels are for {system.name} with glibc 2.{glibc}, this system has {version}; use a "
                         "newer system")


def reload(tree: Tree) -> None:
    """Have systemd and udev read their files again, where they run, and a running device be the new one."""
    if tree.live and _SYSTEMD.exists():
        for line in _RELOAD:
            subprocess.run(line, check=False)


def stop(tree: Tree) -> None:
    """Stop the device, where it runs."""
    if tree.live and _SYSTEMD.exists():
        subprocess.run(_STOP, check=False)
