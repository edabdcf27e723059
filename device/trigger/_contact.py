"""From the edges of a bouncing contact to presses. Pure: every time comes in, in seconds of a monotonic clock."""

from collections import deque

from . import Press


class Contact:
    """A level counts once it has held for `debounce` seconds; a press is long once it was held for `long_press`.

    A short press is reported when it has been let go, a long one while it is still held. What bounces back sooner than
    `debounce` (an electric spark, a fridge) was no press.
    """

    def __init__(self, debounce: float, long_press: float) -> None:
        self._debounce, self._long = debounce, long_press
        self._level, self._since = False, float("-inf")  # as the contact is now, and since when
        self._down: float | None = None  # when the settled press began; None while settled up
        self._told = False  # of this press already
        self._presses: deque[Press] = deque()

    def edge(self, pressed: bool, at: float) -> None:
        """The contact changed at that time."""
        self._advance(at)
        if pressed != self._level:
            self._level, self._since = pressed, at

    def press(self, now: float) -> Press | None:
        """The oldest press that has not been told."""
        self._advance(now)
        return self._presses.popleft() if self._presses else None

    @property
    def next_look(self) -> float:
        """When something may come of what is known now; infinity when only an edge can change anything."""
        if self._level != (self._down is not None):
            return self._since + self._debounce
        return self._down + self._long if self._level and self._down is not None and not self._told else float("inf")

    def _advance(self, now: float) -> None:
        if self._level != (self._down is not None) and now - self._since >= self._debounce:
            if self._down is not None and not self._told:
                self._presses.append(Press.FIELD)
            self._down, self._told = (self._since, False) if self._level else (None, False)
        if self._level and self._down is not None and not self._told and now - self._down >= self._long:
            self._presses.append(Press.CLOSE_SAMPLE)
            self._told = True
