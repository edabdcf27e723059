"""An ST7789 LCD in colour, on an SPI bus, with pins for data/command, reset and backlight.

SPI has no acknowledgement: a panel that is not plugged in cannot be told from one that is.
"""

from importlib.util import find_spec
from typing import Annotated, Literal

from gpiozero import DigitalOutputDevice
from luma.core.interface.serial import spi
from luma.lcd.device import st7789
from pydantic import Field

from alledge.backends import Lack

from ..nodes import missing_node
from ..pins import Pin, claim, missing_pins
from ._glass import Glass

Number = Annotated[int, Field(ge=0, le=2)]
OptionalPin = Pin | Literal["none"]
_MHZ = 1_000_000


def create(port: Number = 0, device: Number = 0, mhz: Literal[8, 16, 20, 24, 32, 40, 48, 52] = 32,
           size: Literal["240x240", "320x240"] = "240x240", rotate: Literal[0, 90, 180, 270] = 0, dc: Pin = 24,
           reset: OptionalPin = 25, backlight: OptionalPin = 18) -> Glass:
    """Open it.

    Args:
        port: number of the SPI bus, N of /dev/spidevN.M.
        device: number of its chip select, M of /dev/spidevN.M.
        mhz: clock of the bus; long wires need a slower one.
        size: of the panel, as it lies when it is not rotated.
        rotate: degrees clockwise.
        dc: BCM number of the data/command pin.
        reset: BCM number of the reset pin, or "none" where it is not wired.
        backlight: BCM number of the backlight's pin, or "none" where the light is always on.

    Raises:
        UsageError: when a pin is in use.
        BackendMissing: when the pins cannot be reached.
        DisplayFault: when the bus fails.
    """
    width, height = map(int, size.split("x"))
    pins = _Pins()
    light = {"backlight": lambda on: None} if backlight == "none" else {"gpio_LIGHT": backlight}

    def make() -> st7789:
        serial = spi(gpio=pins, port=port, device=device, bus_speed_hz=mhz * _MHZ, gpio_DC=dc,
                     gpio_RST=None if reset == "none" else reset, reset_hold_time=0.01, reset_release_time=0.15)
        pins.spi = serial
        return st7789(serial, width=width, height=height, rotate=rotate // 90, gpio=pins, **light)

    return Glass(f"st7789 on /dev/spidev{port}.{device}", make, pins.close)


def missing(port: int, device: int, **_: object) -> Lack | None:
    """What keeps this user from bus and pins."""
    if find_spec("spidev") is None:
        return Lack("spidev is not installed", "pip install 'alledge[st7789]'")
    bus = missing_node(f"spidev{port}.{device}", "sudo raspi-config nonint do_spi 0 on a Raspberry Pi", "spi")
    return bus or missing_pins()


class _Pins:
    """As much of RPi.GPIO as luma uses, on gpiozero: the button and the LED share the pins with the panel."""

    LOW, HIGH, OUT = False, True, "out"

    def __init__(self) -> None:
        self._pins: dict[int, DigitalOutputDevice] = {}
        self.spi: spi | None = None

    def setup(self, pin: int, direction: str) -> None:
        self._pins[pin] = claim("the display", pin, lambda: DigitalOutputDevice(pin))

    def output(self, pin: int, value: bool) -> None:
        self._pins[pin].value = value

    def close(self) -> None:
        """Bus and pins."""
        if self.spi is not None:
            self.spi.cleanup()
        for pin in self._pins.values():
            pin.close()
