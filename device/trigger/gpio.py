"""A push button on a GPIO pin: a short press asks for a field, a long one closes the sample.

Contacts bounce for milliseconds, so gpiozero only reports edges here and `Contact` makes presses of them.
"""

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Annotated

from gpiozero import Button
from pydantic import Field

from alledge.backends import Lack

from ..pins import Pin, claim, missing_pins
from . import Press
from ._contact import Contact


def create(pin: Pin = 17, pull_up: bool = True, debounce: Annotated[float, Field(ge=0.001, le=0.5)] = 0.03,
           long_press: Annotated[float, Field(ge=0.3, le=10)] = 1.5) -> "GpioTrigger":
    """Open it.

    Args:
        pin: BCM number, 2-27.
        pull_up: the button connects the pin to ground (true) or to 3.3 V (false).
        debounce: seconds for which a level must hold to count.
        long_press: seconds from which on a press closes the sample.

    Raises:
        UsageError: when the pin is in use, or has no such pull.
        BackendMissing: when this machine has no pins that can be reached.
    """
    button = claim("the button", pin, lambda: Button(pin, pull_up=pull_up))
    return GpioTrigger(button, Contact(debounce, long_press))


def missing(**_: object) -> Lack | None:
    """What keeps this user from the pins."""
    return missing_pins()


class GpioTrigger:
    """Edges come from gpiozero's thread with their times, so that none is lost while a field is judged.

    A button that is down when the trigger opens says nothing until it is let go and pressed again.
    """

    def __init__(self, button: Button, contact: Contact) -> None:
        self._button, self._contact = button, contact
        self._edges: SimpleQueue[tuple[bool, float]] = SimpleQueue()
        button.when_pressed = lambda: self._edges.put((True, time.monotonic()))
        button.when_released = lambda: self._edges.put((False, time.monotonic()))

    def wait(self, timeout: float | None = None) -> Press | None:
        """The next press; a long one as soon as it is long, without waiting for the release."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            now = time.monotonic()
            while not self._edges.empty():  # all that happened until now, before asking what it came to
                self._contact.edge(*self._edges.get())
            press = self._contact.press(now)
            if press is not None or now >= end:
                return press
            self._sleep_until(min(end, self._contact.next_look), now)

    def _sleep_until(self, then: float, now: float) -> None:
        with suppress(Empty):
            self._contact.edge(*self._edges.get(timeout=None if then == float("inf") else max(then - now, 0.0)))

    def close(self) -> None:
        """Give the pin back."""
        self._button.close()
