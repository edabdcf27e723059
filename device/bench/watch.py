"""Looks at a machine while it is measured: clocks, heat, power, and who else used it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

from ..machine import governors, read
from .processes import Usage, usage
from .sensors import Reading, Sensors

LOOKS_LEAST = 5  # for a mean power
PERIOD_S = 1.0  # between two looks, so that looking takes next to nothing of what is measured


@dataclass(frozen=True)
class Conditions:
    """What held while a machine was measured; None and empty for what it does not tell.

    Attributes:
        governors: of the processors' clocks; most_mhz: the highest clock that they allow.
        power_mode: a Jetson's; usb_mbit: speed of each Edge TPU's port, megabits a second.
        filesystem: that results and screens were written to.
        at_s: when it was looked at, seconds since the first measured field was asked for; readings: what was seen.
        slowed: what held the clock back at any of these looks; slowed_before: what had, since the machine started.
        slowdowns: how often the hardware counted a slowing down meanwhile.
        others, stolen: share of all processor time that other processes took, and that a host took away, 0-1.
    """

    governors: tuple[str, ...]
    most_mhz: float | None
    power_mode: str
    usb_mbit: tuple[int, ...]
    filesystem: str
    at_s: tuple[float, ...]
    readings: tuple[Reading, ...]
    slowed: tuple[str, ...]
    slowed_before: tuple[str, ...]
    slowdowns: dict[str, int]
    others: float | None
    stolen: float | None

    def seen(self, name: str) -> list[float]:
        """All values of one of `Reading`'s figures that were told."""
        return [value for reading in self.readings if (value := getattr(reading, name)) is not None]

    def watts(self, begin_s: float, end_s: float) -> float | None:
        """Mean power of the whole board between two moments of `at_s`; None for too few looks to trust."""
        seen = [reading.watts for at, reading in zip(self.at_s, self.readings, strict=True)
                if begin_s <= at <= end_s and reading.watts is not None]
        return sum(seen) / len(seen) if len(seen) >= LOOKS_LEAST else None


class Watch:
    """In a thread of its own, from `with` on; the clock of `at_s` starts there.

    Args:
        sensors: of the machine; root: where its files are.
        period_s: seconds between two looks.
    """

    def __init__(self, sensors: Sensors, root: Path, period_s: float = PERIOD_S,
                 used: Callable[[], Usage | None] = usage) -> None:
        self._sensors, self._root, self._period_s, self._used = sensors, root, period_s, used
        self._looks: list[tuple[float, Reading]] = []
        self._enough = Event()
        self._thread = Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._flags = self._sensors.firmware_flags()
        self._counts, self._before = self._sensors.slowdowns(), self._used()
        self._began = perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop()

    def conditions(self, folder: Path) -> Conditions:
        """What was seen so far; nothing is looked at from here on. folder: what was written to."""
        after = self._used()
        self._stop()
        self._looks.append((perf_counter() - self._began, self._sensors.read()))
        now, since = self._sensors.firmware_flags()
        new = (*now, *self._flags[0], *(flag for flag in since if flag not in self._flags[1]))
        seen = (flag for _, reading in self._looks for flag in reading.slowed)
        counts = {name: count - self._counts.get(name, 0) for name, count in self._sensors.slowdowns().items()}
        known = None if after is None or self._before is None else (after, self._before)
        return Conditions(
            governors=tuple(sorted(governors(self._root))), most_mhz=self._sensors.most_mhz,
            power_mode=self._sensors.power_mode(), usb_mbit=tuple(self._sensors.usb_mbit()),
            filesystem=filesystem(folder, self._root),
            at_s=tuple(round(at, 3) for at, _ in self._looks), readings=tuple(reading for _, reading in self._looks),
            slowed=tuple(dict.fromkeys((*new, *seen))), slowed_before=self._flags[1],
            slowdowns={name: count for name, count in counts.items() if count > 0},
            others=None if known is None else known[0].share_of_others(known[1]),
            stolen=None if known is None else known[0].share_stolen(known[1]))

    def _stop(self) -> None:
        self._enough.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._enough.is_set():
            self._looks.append((perf_counter() - self._began, self._sensors.read()))
            self._enough.wait(self._period_s)


def filesystem(folder: Path, root: Path) -> str:
    """Type of the file system that a folder is on, e.g. "ext4"; "" where the system does not say (proc(5))."""
    best = ("", "")
    for line in read(root / "proc/self/mountinfo").splitlines():
        place, _, rest = line.partition(" - ")
        point = place.split()[4].replace("\\040", " ")
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, rest.split()[0])
    return best[1]
