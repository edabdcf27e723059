"""What this process and its children take together (an accelerator's engine is a child), and what the others do."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..machine import ROOT, read

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor time since the machine started, in seconds over all processors.

    Attributes:
        busy: of everything that ran; stolen: that the host of a virtual machine gave to others; whole: that there was.
        own: of this process and its children.
    """

    busy: float
    stolen: float
    whole: float
    own: float

    def share_of_others(self, since: "Usage") -> float:
        """Share of all processor time that other processes took, 0-1."""
        others = self.busy - since.busy - (self.own - since.own)
        return min(1.0, max(0.0, others / max(self.whole - since.whole, 1e-9)))

    def share_stolen(self, since: "Usage") -> float:
        """Share of all processor time that this virtual machine was not given although it asked, 0-1."""
        return (self.stolen - since.stolen) / max(self.whole - since.whole, 1e-9)


def usage(root: Path = ROOT) -> Usage | None:
    """Now (proc(5), /proc/stat); None on a system without that file."""
    first = read(root / "proc/stat").partition("\n")[0].split()
    if not first or first[0] != "cpu":
        return None
    user, nice, system, idle, waiting, irq, softirq, stolen = (int(n) / _TICKS for n in [*first[1:9], *["0"] * 8][:8])
    busy = user + nice + system + irq + softirq
    return Usage(busy, stolen, busy + stolen + idle + waiting, cpu_s())


def cpu_s() -> float:
    """Seconds of processor time of this process, its children that live and those that it has waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(_cpu_of(pid) for pid in _descendants())


def rss_mib() -> float:
    """Resident memory of this process and its children, MiB. What they share is counted for each."""
    found = sum(_status(pid, "VmRSS:") for pid in (os.getpid(), *_descendants()))
    return found or peak_rss_mib()


def peak_rss_mib() -> float:
    """The same of the largest that each has been, since the last `forget_peak` where the system can forget."""
    found = sum(_status(pid, "VmHWM:") for pid in (os.getpid(), *_descendants()))
    if found:
        return found
    unit = 2**20 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere (getrusage(2))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak() -> None:
    """Let this process's peak begin anew: what went before is not what is measured (proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _descendants() -> Iterator[int]:
    """Process ids of this process's children, theirs and so on."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        after = read(entry).rpartition(")")[2].split()
        if len(after) > 1:
            parents.setdefault(int(after[1]), []).append(int(entry.parent.name))
    waiting = parents.get(os.getpid(), [])
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += parents.get(pid, [])


def _cpu_of(pid: int) -> float:
    """Seconds of one process and of the children that it has waited for: fields 14 to 17 of /proc/PID/stat."""
    after = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(int(ticks) for ticks in after[11:15]) / _TICKS


def _status(pid: int, name: str) -> float:
    for line in read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0
