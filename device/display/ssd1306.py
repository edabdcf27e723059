"""A SSD1306 OLED of 128x64 pixels in one bit, on an I2C bus."""

from luma.oled.device import ssd1306

from alledge.backends import Lack

from ._glass import Glass
from ._i2c import Address, Port, Upright, missing_bus, open_glass


def create(port: Port = 1, address: Address = 0x3C, rotate: Upright = 0) -> Glass:
    """Open it.

    Args:
        port: number of the I2C bus, N of /dev/i2c-N.
        address: 0x3C, on some modules 0x3D.
        rotate: 180 degrees when it is mounted upside down.

    Raises:
        DisplayFault: when nothing acknowledges at that address.
    """
    return open_glass("ssd1306", ssd1306, port, address, rotate)


def missing(port: int, **_: object) -> Lack | None:
    """What keeps this user from the bus."""
    return missing_bus(port)
