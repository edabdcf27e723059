"""What the displays on an I2C bus share: where they are and how they are told from an empty plug."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import smbus2
from luma.core.interface.serial import i2c
from pydantic import Field

from alledge.backends import Lack

from ..faults import DisplayFault
from ..nodes import missing_node
from ._glass import Glass

Port = Annotated[int, Field(ge=0, le=255)]
Address = Annotated[int, Field(ge=0x08, le=0x77)]  # what the I2C specification leaves to devices
Upright = Literal[0, 180]  # degrees; the screen has no upright form

SWITCH_ON = "sudo raspi-config nonint do_i2c 0 on a Raspberry Pi, or another port (`i2cdetect -l` lists them)"


def missing_bus(port: int) -> Lack | None:
    """What keeps this user from an I2C bus."""
    return missing_node(f"i2c-{port}", SWITCH_ON, "i2c")


def open_glass(name: str, driver: Callable[..., Any], port: int, address: int, rotate: int) -> Glass:
    """A display with one of luma's drivers.

    The bus is opened here and handed to luma, which then writes blocks of 32 bytes: every adapter can do those.

    Raises:
        DisplayFault: when nothing acknowledges at that address.
    """
    where = f"{name} at 0x{address:02X} on I2C bus {port}"
    try:
        bus = smbus2.SMBus(port)
    except OSError as error:
        raise DisplayFault("display-lost", f"{where}: {error}") from error
    return Glass(where, lambda: driver(i2c(bus=bus, address=address), rotate=rotate // 90), bus.close)
