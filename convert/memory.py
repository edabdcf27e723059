"""Refuse a conversion that this machine has no memory for, before the system kills it halfway.

Linux only; elsewhere nothing is known and nothing is refused. The figures were measured on `alledge convert`
(docs/results/conversions.md) and rounded up.
"""

import zipfile
from pathlib import Path

from alledge.errors import AlledgeError
from alledge.manifest import Target
from alledge.runfolder import CALIBRATION_TILES, HELD_OUT_TILES, MODEL

MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container: its own limit, version 2
LIBRARIES = 1.8 * 2**30  # TensorFlow, its converter and ONNX Runtime, bytes
PER_WEIGHT = 26  # bytes of memory per byte of the run's weights: copies in Keras, graphs, converter, interpreters
PER_ONNX_WEIGHT = 70  # ... and in tf2onnx and ONNX Runtime, which fold a network while others hold it
_OTHER_TILES = 200 * 224 * 224 * 3  # bytes of drawn smears or of images given with --data
PER_PIXEL = 8  # bytes per byte of stored tiles: two copies as float32


def demand_memory(run: Path, target: Target) -> None:
    """Compare what converting a run for a target takes with what this machine has, swap included.

    Raises:
        AlledgeError: when it is too little.
    """
    needed, available = estimate(run, target), available_memory()
    if available is not None and available < needed:
        raise AlledgeError(f"{run}: converting it for {target} needs about {needed / 2**30:.1f} GiB of memory, and "
                           f"this machine has {available / 2**30:.1f} GiB left with its swap: convert it on a desktop, "
                           "or on any machine with more, and copy the bundle here")


def estimate(run: Path, target: Target) -> float:
    """Bytes of memory that converting a run for a target takes at most."""
    model = run / MODEL
    per_weight = PER_WEIGHT if target in ("cpu", "coral") else PER_ONNX_WEIGHT
    tiles = sum(_unpacked(run / name) for name in (CALIBRATION_TILES, HELD_OUT_TILES))
    return LIBRARIES + per_weight * (model.stat().st_size if model.is_file() else 0) + PER_PIXEL * tiles


def available_memory() -> float | None:
    """Bytes that a process may still take before something is killed; None where that is not known."""
    try:
        lines = [line.split() for line in MEMINFO.read_text().splitlines()]
        free = sum(1024 * int(line[1]) for line in lines if line[0] in ("MemAvailable:", "SwapFree:"))
    except (OSError, ValueError, IndexError):
        return None
    try:
        limit = (GROUP / "memory.max").read_text().strip()
        used = int((GROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return float(free)
    return float(free if limit == "max" else min(free, int(limit) - used))


def _unpacked(path: Path) -> int:
    """Bytes of a tiles file once it is read, or of what stands in for one that is not there."""
    if not path.is_file():
        return _OTHER_TILES
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return 0  # damaged, which reading it will tell
