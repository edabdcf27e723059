"""How much is measured, and with what."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

from alledge.config import DisplaySettings
from alledge.verdict import Verdict


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        frames: steady fields, each of the two ways; seconds: instead of so many, so long.
        warm_up: fields before them that do not count, after the first.
        starts: whole processes, from start to first verdict.
        camera: URI of one to measure with, None for drawn fields; display: likewise, None for a PNG file.
    """

    frames: int = 100
    seconds: float | None = None
    warm_up: int = 20
    starts: int = 3
    camera: str | None = None
    display: DisplaySettings | None = None

    def steady(self, fields: Iterable[Verdict]) -> Iterator[tuple[float, Verdict]]:
        """The first field, those of the warm-up and as many more as were asked for, each with when it was done."""
        until = float("inf")
        for number, verdict in enumerate(fields, -self.warm_up):
            now = perf_counter()
            if number == 0 and self.seconds is not None:
                until = now + self.seconds
            yield now, verdict
            if number >= 1 and (now >= until if self.seconds is not None else number >= self.frames):
                return
