"""When something was written, by what no clock setting changes."""

import time
from contextlib import suppress
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """A random id of this start of the machine; empty where the system has none."""
    with suppress(OSError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""


def uptime() -> float:
    """Seconds since the machine started."""
    return round(time.monotonic(), 3)
