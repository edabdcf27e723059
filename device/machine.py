"""What this machine is, as far as it tells."""

import os
import platform
from pathlib import Path

ROOT = Path("/")


def describe(root: Path = ROOT) -> dict[str, str | int]:
    """Board, processor, cores this process may use, system, Python, frequency governor ("" where unknown).

    Args:
        root: where Linux's `sys` and `proc` are.
    """
    return {
        "board": read(root / "sys/firmware/devicetree/base/model"),  # Raspberry Pi and Jetson say their name here
        "cpu": _cpu_model(root),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "arch": platform.machine(),
        "os": platform.platform(terse=True),
        "python": platform.python_version(),
        "governor": "+".join(sorted(governors(root))),
    }


def governors(root: Path = ROOT) -> set[str]:
    """The frequency governors of all processors; empty where there is none."""
    return {name for file in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
            if (name := read(file))}


def read(path: Path) -> str:
    """Text of one of the kernel's files; "" where there is none or the hardware behind it does not answer."""
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def number(path: Path) -> float | None:
    """A number in one of the kernel's files; None where there is none."""
    try:
        return float(read(path))
    except ValueError:
        return None


def _cpu_model(root: Path) -> str:
    for line in read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor()
