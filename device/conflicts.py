"""What is wrong with a configuration as a whole, before anything but the display is opened: all of it at once."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from alledge import backends
from alledge.config import DeviceConfig
from alledge.errors import BackendMissing, UsageError

from .camera import EXAMPLES, check_camera

NO_DISPLAY = "none"
_I2C_1 = {"SDA": 2, "SCL": 3}  # bus 1 on a Raspberry Pi's header, BCM numbers
_SPI_0 = {"MISO": 9, "MOSI": 10, "SCLK": 11}
_SPI_0_SELECT = {0: 8, 1: 7}
_PANEL = {"dc": 24, "reset": 25, "backlight": 18}  # an ST7789's own, as its `create` has them
_BUTTON = 17
_LONGEST = 400  # characters of a sentence: a damaged file may quote itself at length


def refuse(config: DeviceConfig) -> None:
    """Raise UsageError with every fault of a configuration in one sentence."""
    if faults := faults_of(config):
        raise UsageError("; ".join(faults))


def faults_of(config: DeviceConfig) -> list[str]:
    """Every fault of a configuration, in a sentence each; those of the file it came from first."""
    found = [*config.faults.values(), *_of_camera(config), *_of_bundle(config), *_of_options(config), *_of_pins(config)]
    return [text if len(text) <= _LONGEST else f"{text[:_LONGEST // 2]} ... {text[-_LONGEST // 2:]}" for text in found]


def _of_camera(config: DeviceConfig) -> Iterator[str]:
    if config.camera.uri is not None:
        yield from _of_back_end(lambda: check_camera(config.camera.uri or ""))
    elif not {"", "camera", "camera.uri"} & {*config.faults}:
        yield f"no camera was given: add --camera, or `uri` in [camera], with one of {', '.join(EXAMPLES.values())}"


def _of_bundle(config: DeviceConfig) -> Iterator[str]:
    path = config.bundle.path
    if path is not None and not os.path.exists(path):  # also for a name that no file can have
        yield f"{path}: expected a bundle made by `alledge convert`, found no such file"


def _of_options(config: DeviceConfig) -> Iterator[str]:
    engine, display, trigger = config.engine.name, config.display, config.trigger
    if engine is not None and engine not in backends.names("engine"):
        yield f"engine {engine!r} is unknown: expected one of {', '.join(backends.names('engine'))}"
    if display.name not in (None, NO_DISPLAY):
        yield from _of_back_end(lambda: backends.check("display", display.name or "", display.options))
    if trigger.name is not None:
        yield from _of_back_end(lambda: backends.check("trigger", trigger.name or "", trigger.options))


def _of_back_end(check: Callable[[], object]) -> Iterator[str]:
    """An absent library is no fault of the configuration: whoever opens the back end says so."""
    try:
        check()
    except UsageError as error:
        yield str(error)
    except BackendMissing:
        return


def _of_pins(config: DeviceConfig) -> Iterator[str]:
    """Two uses of one pin: the one that is opened last would fail, or silence the other."""
    users: dict[int, list[str]] = defaultdict(list)
    for part, pin in _pins(config):
        users[pin].append(part)
    for pin, parts in sorted(users.items()):
        if len(parts) > 1:
            yield f"GPIO{pin} is used by {' and by '.join(parts)}: give each a pin of its own"


def _pins(config: DeviceConfig) -> Iterator[tuple[str, int]]:
    """What uses which pin; a value that is no number has been refused already."""
    display, trigger = config.display, config.trigger
    if display.name in ("ssd1306", "sh1106", "st7789"):
        for line, pin in _of_display(display.name, display.options).items():
            if isinstance(pin, int):
                yield f"display {display.name} ({line})", pin
    if trigger.name == "gpio" and isinstance(pin := trigger.options.get("pin", _BUTTON), int):
        yield "the button", pin
    if config.led.pin is not None:
        yield "the LED", config.led.pin


def _of_display(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """Lines of its bus and its own; the defaults are those of the display's `create`."""
    port = options.get("port", 0 if name == "st7789" else 1)
    if name != "st7789":
        return {**_I2C_1} if port == 1 else {}
    own = {line: options.get(line, pin) for line, pin in _PANEL.items()}
    device = options.get("device", 0)
    select = _SPI_0_SELECT.get(device if isinstance(device, int) else 0, 8)
    return own if port != 0 else {**_SPI_0, "chip select": select, **own}
