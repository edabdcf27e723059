"""GPIO pins, through gpiozero: one place that says in a sentence why a pin cannot be had."""

import warnings
from collections.abc import Callable
from typing import Annotated, TypeVar

from gpiozero import Device, GPIOPinInUse, PinFixedPull, PinInvalidPin
from pydantic import Field

from alledge.backends import Lack
from alledge.errors import BackendMissing, UsageError

from . import nodes

RASPBERRY = "use the header of a Raspberry Pi, or do without GPIO: trigger keyboard or interval, no [led]"
Pin = Annotated[int, Field(ge=2, le=27)]  # BCM numbers on a Raspberry Pi's header; 0 and 1 belong to HATs
Part = TypeVar("Part")


def missing_pins() -> Lack | None:
    """What keeps this user from GPIO pins; no pin is touched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `claim`
        try:
            Device.ensure_pin_factory()
            return None
        except Exception as error:  # as in `claim`
            failure = " ".join(str(error).split())
    chips = sorted(nodes.DEV.glob("gpiochip*"))
    if not chips:
        return Lack(f"no {nodes.DEV}/gpiochip* is there", RASPBERRY)
    lacks = [nodes.missing_node(chip.name, "", "gpio") for chip in chips]
    if all(lacks):
        return lacks[0]
    return Lack(f"the pins cannot be reached ({failure})", f"pip install 'alledge[gpio]'; if that is done, {RASPBERRY}")


def claim(what: str, pin: int, make: Callable[[], Part]) -> Part:
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
