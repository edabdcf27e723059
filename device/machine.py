"""What this machine is, as far as it tells."""

import os
import platform
import resource
import sys
from pathlib import Path

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_BOARD = Path("/sys/firmware/devicetree/base/model")  # Raspberry Pi and Jetson say their name here


def describe() -> dict[str, str | int]:
    """Board, processor, cores this process may use, system, Python, frequency governor ("" where unknown)."""
    return {
        "board": _read(_BOARD),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "arch": platform.machine(),
        "os": platform.platform(terse=True),
        "python": platform.python_version(),
        "governor": _read(_GOVERNOR),
    }


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere (getrusage(2))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""
