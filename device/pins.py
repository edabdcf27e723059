"""GPIO pins, through gpiozero: one place that says in a sentence why a pin cannot be had."""

import warnings
from collections.abc import Callable
from typing import Annotated, TypeVar

from gpiozero import GPIOPinInUse, PinFixedPull, PinInvalidPin
from pydantic import Field

from alledge.errors import BackendMissing, UsageError

Pin = Annotated[int, Field(ge=2, le=27)]  # BCM numbers on a Raspberry Pi's header; 0 and 1 belong to HATs
Device = TypeVar("Device")


def claim(what: str, pin: int, make: Callable[[], Device]) -> Device:
    """What `make` makes on a pin, for instance a `gpiozero.LED`.

    Raises:
        UsageError: when something else of ours uses the pin, or it cannot do that.
        BackendMissing: when this machine has no pins that can be reached.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gpiozero warns of every library that it tries before it gives up
        try:
            return make()
        except (GPIOPinInUse, PinFixedPull, PinInvalidPin) as error:
            raise UsageError(f"GPIO{pin} cannot serve {what}: {error}") from error
        except Exception as error:  # each library below gpiozero has errors of its own (lgpio.error, RuntimeError ...)
            raise BackendMissing(f"GPIO{pin} for {what} cannot be reached: {error}; expected the pins of a Raspberry "
                                 "Pi, a user in group gpio, and pip install 'alledge[gpio]'") from error
