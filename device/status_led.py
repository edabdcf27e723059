"""A status LED on a GPIO pin: on when ready, slow blinking while busy, fast blinking on a fault, off when stopped."""

from enum import Enum

from alledge.backends import Lack
from alledge.errors import BackendMissing


class Light(Enum):
    """What it says, as seconds on and off; READY is steady."""

    READY = (1.0, 0.0)
    BUSY = (0.5, 0.5)
    FAULT = (0.1, 0.1)


def missing() -> Lack | None:
    """What keeps this machine from having one."""
    try:
        from .pins import missing_pins
    except ImportError as error:
        return Lack(f"{error.name} is not installed", "pip install 'alledge[gpio]'")
    return missing_pins()


class StatusLed:
    """Between resistor and ground on a BCM pin.

    Raises:
        UsageError: when the pin is in use.
        BackendMissing: when gpiozero is not installed, or this machine has no pins that can be reached.
    """

    def __init__(self, pin: int) -> None:
        try:
            from gpiozero import LED

            from .pins import claim
        except ImportError as error:
            raise BackendMissing(f"the status LED needs {error.name}, which is not installed: "
                                 "pip install 'alledge[gpio]'") from error
        self._led = claim("the status LED", pin, lambda: LED(pin))
        self._light: Light | None = None

    def show(self, light: Light) -> None:
        """Change the pattern; the same one again goes on undisturbed."""
        if light is self._light:
            return
        self._light = light
        on, off = light.value
        if off:
            self._led.blink(on, off)
        else:
            self._led.on()

    def close(self) -> None:
        """Off, and the pin given back."""
        self._led.off()
        self._led.close()
