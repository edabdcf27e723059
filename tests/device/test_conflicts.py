"""A configuration that cannot be run is refused as a whole, and the display says why."""

from pathlib import Path

import pytest

from alledge import backends
from alledge.config import (
    BundleSettings,
    CameraSettings,
    DeviceConfig,
    DisplaySettings,
    LedSettings,
    TriggerSettings,
    load_config,
)
from alledge.device.conflicts import refuse
from alledge.device.run import run
from alledge.errors import UsageError

CAMERA = CameraSettings(uri="synthetic://?seed=1")


@pytest.mark.parametrize(("display", "button", "led", "pin"), [
    (DisplaySettings(name="st7789"), 24, None, 24),
    (DisplaySettings(name="st7789"), 17, 11, 11),
    (DisplaySettings(name="ssd1306"), 3, None, 3),
    (DisplaySettings(), 17, 17, 17),
])
def test_two_parts_on_one_pin(display: DisplaySettings, button: int, led: int | None, pin: int) -> None:
    config = DeviceConfig(camera=CAMERA, display=display, led=LedSettings(pin=led),
                          trigger=TriggerSettings(name="gpio", options={"pin": button}))
    with pytest.raises(UsageError, match=f"^GPIO{pin} is used by [^;]*$"):
        refuse(config)


def test_parts_on_pins_of_their_own_are_taken() -> None:
    refuse(DeviceConfig(camera=CAMERA, display=DisplaySettings(name="st7789"), led=LedSettings(pin=27),
                        trigger=TriggerSettings(name="gpio")))


def test_all_faults_at_once_and_on_the_display(tmp_path: Path) -> None:
    config = DeviceConfig(bundle=BundleSettings(path=tmp_path / "gone.alledge"), led=LedSettings(pin=17),
                          display=DisplaySettings(name="png", options={"path": str(tmp_path / "screen.png")}),
                          trigger=TriggerSettings(name="interval", options={"often": 1}))
    with pytest.raises(UsageError) as refused:
        run(config)
    assert refused.value.exit_code == 2
    for fault in ("no camera was given", "gone.alledge", "option often is unknown"):
        assert fault in str(refused.value)
    assert (tmp_path / "screen.png").is_file()


def test_the_desktop_example_loads_and_is_taken() -> None:
    refuse(load_config(Path(__file__).parents[2] / "firmware_configs/desktop.toml"))


def test_the_default_pins_are_those_of_the_back_ends() -> None:
    pytest.importorskip("luma.lcd", reason="luma.lcd is not installed: pip install 'alledge[st7789]'")
    panel, button = backends.check("display", "st7789", {}), backends.check("trigger", "gpio", {})
    for pin in (panel["dc"], panel["reset"], panel["backlight"]):
        with pytest.raises(UsageError, match=f"GPIO{pin} is used by display st7789 and by the LED"):
            refuse(DeviceConfig(camera=CAMERA, display=DisplaySettings(name="st7789"), led=LedSettings(pin=pin)))
    with pytest.raises(UsageError, match=f"GPIO{button['pin']} is used by the button and by the LED"):
        refuse(DeviceConfig(camera=CAMERA, trigger=TriggerSettings(name="gpio"), led=LedSettings(pin=button["pin"])))
