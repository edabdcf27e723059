"""Triggers: what asks for the next field. Each other file here is one of them. Without one, every frame is judged."""

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from alledge import backends


class Press(Enum):
    """What was asked for."""

    FIELD = "field"
    CLOSE_SAMPLE = "close-sample"
    STOP = "stop"


class Trigger(Protocol):
    """A button, a keyboard, a clock. `create(**options)` of a back end makes one.

    One thread waits and closes. A press made while nobody waits is kept and comes with the next `wait`.
    """

    def wait(self, timeout: float | None = None) -> Press | None:
        """The next press, or None when there was none within `timeout` seconds (None: wait for ever, 0: only look).

        A trigger that can give no more (its keyboard is gone) says `STOP`.
        """

    def close(self) -> None:
        """Let go of the device, and leave it as it was found."""


def open_trigger(name: str, options: Mapping[str, object] | None = None) -> Trigger:
    """Open a trigger by name, with its options from the configuration.

    Raises:
        UsageError: for an unknown trigger or option, a value it cannot use, or a keyboard that is none.
        BackendMissing: when its library, or the hardware it needs, is not on this machine.
    """
    trigger: Trigger = backends.create("trigger", name, options or {})
    return trigger
