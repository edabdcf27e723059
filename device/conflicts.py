"""What is wrong with a configuration as a whole, before anything but the display is opened: all of it at once."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from alledge import backends
from alledge.config import DeviceConfig
from alledge.errors import BackendMissing, UsageError

from .camera import EXAMPLES

_I2C_1 = (2, 3)  # SDA and SCL of bus 1 on a Raspberry Pi's header, BCM numbers
_SPI_0 = (9, 10, 11)  # MISO, MOSI and SCLK of bus 0
_SPI_0_SELECT = {0: 8, 1: 7}


def refuse(config: DeviceConfig) -> None:
    """Refuse a configuration that cannot be run.

    Raises:
        UsageError: with every fault of it in one sentence.
    """
    faults = [*_of_camera(config), *_of_bundle(config), *_of_options(config), *_of_pins(config)]
    if faults:
        raise UsageError("; ".join(faults))


def _of_camera(config: DeviceConfig) -> Iterator[str]:
    if config.camera.uri is None:
        yield f"no camera was given: add --camera with one of {', '.join(EXAMPLES.values())}"


def _of_bundle(config: DeviceConfig) -> Iterator[str]:
    path = config.bundle.path
    if path is not None and not path.exists():
        yield f"{path}: expected a bundle made by `alledge convert`, found no such file"


def _of_options(config: DeviceConfig) -> Iterator[str]:
    """An absent library is no fault of the configuration: whoever opens the back end says so."""
    if config.engine.name is not None and config.engine.name not in backends.names("engine"):
        yield f"engine {config.engine.name!r} is unknown: expected one of {', '.join(backends.names('engine'))}"
    if config.trigger.name is not None:
        try:
            backends.check("trigger", config.trigger.name, config.trigger.options)
        except UsageError as error:
            yield str(error)
        except BackendMissing:
            return


def _of_pins(config: DeviceConfig) -> Iterator[str]:
    """Two parts on one pin: the one that is opened last would fail, or silence the other."""
    users: dict[int, list[str]] = defaultdict(list)
    for part, pins in _pins(config).items():
        for pin in pins:
            users[pin].append(part)
    for pin, parts in sorted(users.items()):
        if len(parts) > 1:
            yield f"GPIO{pin} is used by {' and by '.join(parts)}: give each a pin of its own"


def _pins(config: DeviceConfig) -> dict[str, set[int]]:
    pins: dict[str, set[int]] = {}
    display, trigger = config.display, config.trigger
    if display.name in ("ssd1306", "sh1106", "st7789"):
        pins[f"display {display.name}"] = _of_display(display.name, display.options)
    if trigger.name == "gpio":
        pins["the button"] = _numbers(trigger.options.get("pin", 17))
    if config.led.pin is not None:
        pins["the LED"] = {config.led.pin}
    return pins


def _of_display(name: str, options: Mapping[str, object]) -> set[int]:
    """Pins of its bus and its own; the defaults are those of the display's `create`."""
    port = options.get("port", 0 if name == "st7789" else 1)
    if name != "st7789":
        return set(_I2C_1) if port == 1 else set()
    own = _numbers(options.get("dc", 24), options.get("reset", 25), options.get("backlight", 18))
    device = options.get("device", 0)
    return own if port != 0 else own | {*_SPI_0, _SPI_0_SELECT.get(device if isinstance(device, int) else 0, 8)}


def _numbers(*pins: object) -> set[int]:
    return {pin for pin in pins if isinstance(pin, int)}
