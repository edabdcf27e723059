"""A trigger by the clock: one field every so many seconds, the first at once."""

import time
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from . import Press


def create(seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 5.0) -> "IntervalTrigger":
    """Open it.

    Args:
        seconds: from one field to the next, 0.1 to 86400.
    """
    return IntervalTrigger(seconds)


class IntervalTrigger:
    """Keeps its rhythm whatever a field takes; the beats that went by meanwhile are left out, never caught up.

    Args:
        seconds: from one beat to the next.
        clock: monotonic, in seconds.
        sleep: waits so many seconds of that clock.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._seconds, self._clock, self._sleep = seconds, clock, sleep
        self._due = clock()

    def wait(self, timeout: float | None = None) -> Press | None:
        """`FIELD` when the beat falls within the timeout."""
        missing = self._due - self._clock()
        if missing > 0:
            self._sleep(missing if timeout is None else min(missing, timeout))
            if timeout is not None and timeout < missing:
                return None
        late = max(self._clock() - self._due, 0.0)
        self._due += self._seconds * (1 + late // self._seconds)
        return Press.FIELD

    def close(self) -> None:
        """Nothing is held."""
