"""docs/results/device-install-BOARD.md."""

import datetime
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_APART = """ (Drawn on arm64, two of them are other pictures.)
Probabilities may be apart by the bundle's tolerance. The network answers in steps of 1/256, so that what is far below
comes after it, of the temperature, in floating point ([arm64.md](arm64.md))."""


@dataclass(frozen=True)
class Point:
    """One thing that has to hold, and what was found."""

    what: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Proof:
    """emulated: or of this machine's processor; checks: the doctor's findings; said: by the installation."""

    board: str
    kill_after: float
    emulated: bool
    points: list[Point]
    checks: list[Mapping[str, Any]]
    said: str


def write_page(path: Path, proof: Proof, pack_bytes: int, minutes: float) -> None:
    """Write the whole page."""
    points = "\n".join(f"| {p.what} | {p.found} | {'yes' if p.holds else '**no**'} |" for p in proof.points)
    checks = "\n".join(f"| {c['name']} | {'yes' if c['needed'] else ''} | {'ok' if c['ok'] else 'absent'} | "
                       f"{c['found']} |" for c in proof.checks)
    changes = proof.said.partition(" changes: done")[0].rpartition("\n")[0]
    how, machine = ("**Emulated (qemu-user), not a board.**", "arm64") if proof.emulated else \
        ("**Not emulated, and no board:** this machine's own processor.", "x86-64")
    path.write_text(f"""# A clean {machine} system becomes the device, and is itself again

Command: `sudo nice .venv/bin/python tests/emulation/install/run.py --board {proof.board}
--kill-after {proof.kill_after:g} --pack FILE --drawn FILE`, {datetime.date.today()}, {minutes:.0f} minutes
on a busy x86-64 machine of {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}.

{how} A clean Debian 12 for {machine} (its packages unpacked, `config.txt` a stand-in for Raspberry Pi OS's), in a
cage without any network, gets one file: that of `alledge device pack --board {proof.board} --python 3.11`,
{pack_bytes / 1e6:.0f} MB. Listings are of every path: kind, mode, user, group and SHA-256. No systemd ran: units are
put in place and not started, and neither `config.txt` nor udev's rules met the hardware that they are for.

**{sum(p.holds for p in proof.points)} of {len(proof.points)} points hold.**

| what has to hold | found | holds |
|---|---|---|
{points}

The shipped model (`first.alledge`) has learned from real smears, so that drawn fields, which are not like those, are
rightly inconclusive; `drawn.alledge` is the one of `alledge demo`, which learned drawn smears. Outside is this
machine's own processor, on which the 8 pictures were drawn for both.{_APART if proof.emulated else ''}

## What was changed

```
{changes}
```

## What the doctor said

| what | needed | | found |
|---|---|---|---|
{checks}
""", encoding="utf-8")
