"""Where the fields are, seen from outside the stages: the daemon's state follows it, and so does its watchdog.

A stage is an iterator over the one before it; `into` stands between two of them and sees each item go in, and the stage
come back for the next.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic
from typing import TypeVar

from .camera import Camera, Frame
from .stages import Mark, Pending
from .states import Machine, State
from .station import Station
from .trigger import Press, Trigger

T = TypeVar("T")
STAGES = ("capture", "prepare", "infer", "keep")  # in the order of a field


@dataclass
class _Passed:
    """How many fields were asked for, and how many of them have passed each step."""

    asked: int = 0
    captured: int = 0
    judged: int = 0
    stored: int = 0
    told: int = 0


class Progress:
    """Of one station.

    Args:
        machine: follows the oldest field in hand.
        triggered: whether fields are asked for one by one; else a camera is asked all the time.
        clock: seconds that never go back.
    """

    def __init__(self, machine: Machine, triggered: bool, clock: Callable[[], float] = monotonic) -> None:
        self._machine, self._triggered, self._clock = machine, triggered, clock
        self._passed = _Passed()
        self._faults: frozenset[str] = frozenset()
        self._busy: dict[str, float] = {}
        self._moving = Lock()

    def watched(self, station: Station) -> Station:
        """The station, with camera and trigger seen by this."""
        trigger = None if station.trigger is None else _SeenTrigger(station.trigger, self)
        return replace(station, camera=_SeenCamera(station.camera, self), trigger=trigger)

    def into(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The items on their way into one of `STAGES`."""
        step = {"prepare": "captured", "keep": "judged"}.get(stage)
        for item in items:
            if step is not None and not isinstance(item, Mark):
                self.passed(step)
            with self.at_work(stage):
                yield item

    def into_results(self, items: Iterable[Pending | Mark | None]) -> Iterator[Pending | Mark | None]:
        """The items on their way to whoever shows and tells them; each result is on disk, or refused, when it comes."""
        for item in items:
            if not isinstance(item, Pending):
                yield item
                continue
            wait((item.stored,))
            self.passed("stored")
            yield item
            self.passed("told")

    def passed(self, step: str) -> None:
        """A field was "asked" for, or has been "captured", "judged", "stored" or "told"."""
        with self._machine.lock:
            setattr(self._passed, step, getattr(self._passed, step) + 1)
            self._passed.asked = max(self._passed.asked, self._passed.captured)
            self._machine.follow(self.state)

    def faults(self, names: Iterable[str]) -> None:
        """From now on exactly these faults are on. What was asked for during a fault may never come."""
        with self._machine.lock:
            self._faults = frozenset(names)
            self._passed.asked = self._passed.captured
            self._machine.follow(self.state)

    @property
    def state(self) -> State:
        """Of the oldest field in hand; without one, whether there can be one."""
        passed = self._passed
        if passed.told < passed.stored:
            return State.SHOWING
        if passed.stored < passed.judged:
            return State.STORING
        if passed.judged < passed.captured:
            return State.JUDGING
        if self._faults:
            return State.FAULTED
        return State.CAPTURING if passed.captured < passed.asked or not self._triggered else State.READY

    @contextmanager
    def at_work(self, stage: str) -> Iterator[None]:
        """While a stage works on one item, or waits to hand it on to the next, whose fault that is until it is over."""
        with self._moving:
            self._busy[stage] = self._clock()
        try:
            yield
        finally:
            with self._moving:
                del self._busy[stage]
                waited = STAGES[:STAGES.index(stage)]
                self._busy.update({before: self._clock() for before in waited if before in self._busy})

    def stuck(self, seconds: float) -> tuple[str, float] | None:
        """The stage that has been at one item for more than that, and for how many seconds; of several the last, since
        those before it only wait for it.
        """
        with self._moving:
            now, busy = self._clock(), self._busy.copy()
        over = [(stage, now - busy[stage]) for stage in STAGES if now - busy.get(stage, now) > seconds]
        return over[-1] if over else None


@dataclass(frozen=True)
class _SeenCamera:
    """A `Camera` whose reading is seen."""

    camera: Camera
    progress: Progress

    def read(self) -> Frame | None:
        with self.progress.at_work("capture"):
            return self.camera.read()

    def close(self) -> None:
        self.camera.close()


@dataclass(frozen=True)
class _SeenTrigger:
    """A `Trigger` whose presses are seen."""

    trigger: Trigger
    progress: Progress

    def wait(self, timeout: float | None = None) -> Press | None:
        press = self.trigger.wait(timeout)
        if press is Press.FIELD:
            self.progress.passed("asked")
        return press

    def close(self) -> None:
        self.trigger.close()
