"""A configuration that cannot be run is refused as a whole, and the display says why."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

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
from alledge.device.conflicts import faults_of
from alledge.device.run import run
from alledge.errors import UsageError

Cli = Callable[..., subprocess.CompletedProcess[str]]
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
    assert len(faults_of(config)) == 1
    assert faults_of(config)[0].startswith(f"GPIO{pin} is used by ")


def test_parts_on_pins_of_their_own_are_taken() -> None:
    assert not faults_of(DeviceConfig(camera=CAMERA, display=DisplaySettings(name="st7789"), led=LedSettings(pin=27),
                                      trigger=TriggerSettings(name="gpio")))


def test_two_lines_of_one_panel_on_one_pin() -> None:
    config = DeviceConfig(camera=CAMERA, display=DisplaySettings(name="st7789", options={"dc": 25, "port": 1}))
    assert faults_of(config) == ["GPIO25 is used by display st7789 (dc) and by display st7789 (reset): give each a pin "
                                 "of its own"]


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
    assert not faults_of(load_config(Path(__file__).parents[2] / "firmware_configs/desktop.toml"))


def test_the_default_pins_are_those_of_the_back_ends() -> None:
    pytest.importorskip("luma.lcd", reason="luma.lcd is not installed: pip install 'alledge[st7789]'")
    panel, button = backends.check("display", "st7789", {}), backends.check("trigger", "gpio", {})
    for line in ("dc", "reset", "backlight"):
        lit = DeviceConfig(camera=CAMERA, display=DisplaySettings(name="st7789"), led=LedSettings(pin=panel[line]))
        assert faults_of(lit)[0].startswith(f"GPIO{panel[line]} is used by display st7789 ({line}) and by the LED")
    pressed = DeviceConfig(camera=CAMERA, trigger=TriggerSettings(name="gpio"), led=LedSettings(pin=button["pin"]))
    assert faults_of(pressed)[0].startswith(f"GPIO{button['pin']} is used by the button and by the LED")


FAULTY = """
colour = "red"
[bundle]
path = "HERE/gone.alledge"
[camera]
uri = "emulated://melted@3/synthetic://?sed=3&size=7"
exposure = 5
[engine]
name = "abacus"
threads = "three"
[display]
name = "png"
rate = true
options = {path = "HERE/screen.png", colour = "red"}
[trigger]
name = "interval"
options = {often = 1, seconds = 0}
[led]
pin = 99
[sample]
id = "SCHMIDT-1970"
[results]
database = "HERE/results.db"
mqtt = "http://user:secret@broker"
"""
SAID = ("key colour is unknown, allowed are bundle, camera", "gone.alledge: expected a bundle", "'melted@3'",
        "sed=3 is not understood, expected seed", "size=7 is out of range", "key camera.exposure is unknown",
        "engine 'abacus' is unknown: expected one of coral", "engine.threads: input should be a valid integer",
        "display.rate: input should be a valid number", "display 'png': option colour is unknown, expected path, size",
        "option often is unknown, expected seconds", "trigger 'interval': option seconds: input should be greater",
        "led.pin: input should be less than or equal to 27, received 99", "sample.id: expected at most 3 letters",
        "results.mqtt: expected a broker as mqtt://host/topic",
        "sample id: expected 1 to 24 characters")


def description(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.info["Description"])


def test_a_faulty_configuration_is_refused_by_the_command(alledge: Cli, tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text(FAULTY.replace("HERE", str(tmp_path)))
    done = alledge("run", "--config", tmp_path / "device.toml", "--sample", "x" * 30, "--json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    shown = description(tmp_path / "screen.png")
    for said in SAID:
        assert said in done.stderr
        assert said.lower() in shown.lower()
    for secret in ("SCHMIDT", "secret"):
        assert secret not in done.stderr + shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["device.toml", "screen.png"]


def test_a_file_that_is_no_toml_is_shown_on_the_display_of_the_command_line(alledge: Cli, tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("camera = [")
    done = alledge("run", "--config", tmp_path / "device.toml", "--display", "png",
                   env={"XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 2
    assert "not valid TOML" in done.stderr
    assert "no camera" not in done.stderr  # perhaps there was one in it
    assert "not valid TOML" in description(tmp_path / "alledge/screens/0001.png")


def test_other_commands_refuse_the_file_as_well(alledge: Cli, tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("colour = 1\n[led]\npin = 99\n")
    for command in (("doctor",), ("bench",), ("results", "list")):
        done = alledge(*command, "--config", tmp_path / "device.toml")
        assert done.returncode == 2
        assert "key colour is unknown" in done.stderr
        assert "led.pin" in done.stderr


def test_options_of_another_display_are_not_held_against_the_one_on_the_command_line(alledge: Cli,
                                                                                     tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text('[display]\nname = "st7789"\noptions = {dc = 5}\n[led]\npin = 5\n')
    done = alledge("run", "--config", tmp_path / "device.toml", "--display", "terminal", "--camera", "file")
    assert (done.returncode, "option dc" in done.stderr, "GPIO5" in done.stderr) == (2, False, False)
    assert "camera 'file' is not a URI" in done.stderr
