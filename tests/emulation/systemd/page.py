"""docs/results/systemd.md."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_page(path: Path, points: Sequence[dict[str, Any]], qemu: str, host: str, minutes: float) -> None:
    """Write the whole page."""
    path.write_text(page(points, qemu, host, minutes, datetime.date.today()), encoding="utf-8")


def page(points: Sequence[dict[str, Any]], qemu: str, host: str, minutes: float, today: datetime.date) -> str:
    """The page as Markdown."""
    rows = "\n".join(f"| {p['what']} | {p['found'].replace('|', '/')} | {'yes' if p['holds'] else '**no**'} |"
                     for p in points)
    return f"""# The units under a real systemd

Command: `sudo nice .venv/bin/python tests/emulation/systemd/run.py`, {today}, {minutes:.0f} minutes beside other work.

**A virtual machine, emulated ({qemu}, TCG, on {host}), not a board.** An x86-64 Debian 13 with Debian's own
kernel, one processor and no network. In its first life it is installed into from one file, that of `alledge device
pack --board desktop`; then it is switched on anew with the units as they ship, without a drop-in, and all of this
happens to them. Seconds are of an emulated processor: they say that nothing waits for ever, not how fast it is.

**{sum(p['holds'] for p in points)} of {len(points)} points hold.**

| what has to hold | found | holds |
|---|---|---|
{rows}

The disk that hangs is a file system frozen by `fsfreeze`; a thread that waits for it can be killed by nobody until it
answers: that is Linux. The camera is the kernel's `vivid`, whose test picture is no smear. The stick is QEMU's, in the
socket from the start and let in later by the kernel's own switch (`authorized`); the boards' udev rule for it was added
by the script, since a desktop is installed without it. The clock is set by `date -s`. The
model is the shipped one, signed twice by a key made for this run; drawn fields are rightly inconclusive to it.

**Not measured here**: arm64, where the units are the same and systemd and kernel are built for another processor
(Raspberry Pi OS 12 has systemd 252, with which the tests verify the units); GPIO, I2C, SPI, a CSI camera and
accelerators through the sandbox; a stick in a real socket. On a board: `systemctl start alledge`, `systemctl reload
alledge`, `kill -STOP` its process and wait for `WatchdogSec`, `systemctl stop alledge`, `systemctl start
alledge-backup`, `alledge results verify`.
"""
