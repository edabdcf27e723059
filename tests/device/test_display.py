"""The displays of real glass: luma's real drivers on stand-in buses, byte by byte; a framebuffer's memory."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alledge.device import nodes
from alledge.device.display import Display, framebuffer, open_display
from alledge.device.faults import DisplayFault
from alledge.device.screen import screen
from alledge.errors import BackendMissing, UsageError


def beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


buses, screens = beside("buses"), beside("screens")
smbus2 = pytest.importorskip("smbus2", reason="luma.oled is not installed: pip install 'alledge[ssd1306]'")
gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'alledge[gpio]'")
pytest.importorskip("luma.lcd", reason="luma.lcd is not installed: pip install 'alledge[st7789]'")


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev with the ports of a Raspberry Pi whose buses are switched on."""
    for name in ("i2c-1", "i2c-3", "spidev0.0", "spidev1.1", "fb0"):
        (tmp_path / name).touch()
    monkeypatch.setattr(nodes, "DEV", tmp_path)
    return tmp_path


@pytest.fixture
def oled(dev: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A stand-in I2C bus with a panel on it."""
    def make(name: str, address: int = 0x3C) -> Any:
        bus = buses.I2cBus(buses.OledPanel(name == "sh1106"), address)
        monkeypatch.setattr(smbus2, "SMBus", bus)
        return bus
    return make


@pytest.fixture
def lcd(dev: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stand-in SPI bus with a panel on it, and gpiozero's mock pins."""
    from gpiozero.pins.mock import MockFactory

    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    panel = buses.SpiPanel(lambda: factory.pin(24).state)
    monkeypatch.setitem(sys.modules, "spidev", panel.as_module())
    yield panel
    factory.reset()


def picture(display: Display) -> Image.Image:
    return screen(screens.SURE, display.size)


def same(seen: Image.Image, drawn: Image.Image, lost_bits: int = 0) -> bool:
    return np.array_equal(np.asarray(seen.convert("RGB")) >> lost_bits, np.asarray(drawn.convert("RGB")) >> lost_bits)


def transfers(name: str, drawn: Image.Image) -> list[bytes]:
    """What goes over the bus for one screen, each transfer with its control byte, as the datasheets say."""
    rows = np.asarray(drawn, np.uint8).reshape(8, 8, 128)  # a byte is 8 rows of one column, the topmost its lowest bit
    pages = np.packbits(rows, axis=1, bitorder="little").reshape(8, 128)
    if name == "ssd1306":
        return [bytes([0x00, 0x21, 0, 127, 0x22, 0, 7]),
                *(b"\x40" + pages.tobytes()[i:i + 32] for i in range(0, 1024, 32))]
    return [transfer for number, page in enumerate(pages) for transfer in (
        bytes([0x00, 0xB0 + number, 0x02, 0x10]), *(b"\x40" + page.tobytes()[i:i + 32] for i in range(0, 128, 32)))]


@pytest.mark.parametrize(("name", "bytes_a_frame"), [("ssd1306", 1063), ("sh1106", 1088)])
def test_oled_is_sent_the_screen_byte_by_byte(oled: Any, name: str, bytes_a_frame: int) -> None:
    bus = oled(name)
    with closing(open_display(name)) as display:
        assert (display.size, display.mode) == ((128, 64), "1")
        assert bus.panel.on
        started = len(bus.written)
        display.show(picture(display), ["words"])
        assert bus.written[started:] == transfers(name, picture(display))
        assert sum(map(len, bus.written[started:])) == bytes_a_frame
        assert same(bus.panel.image(), picture(display))
    assert bus.open_ports == 0
    assert bus.panel.on  # what was shown last stays


@pytest.mark.parametrize("name", ["ssd1306", "sh1106"])
def test_oled_elsewhere_and_upside_down(oled: Any, name: str) -> None:
    bus = oled(name, 0x3D)
    with closing(open_display(name, {"port": 3, "address": 0x3D, "rotate": 180})) as display:
        display.show(picture(display), [])
        assert same(bus.panel.image().rotate(180), picture(display))


@pytest.mark.parametrize("name", ["ssd1306", "sh1106"])
def test_oled_that_is_not_plugged_in_is_one_clear_error(oled: Any, name: str) -> None:
    bus = oled(name, 0x3D)
    with pytest.raises(DisplayFault, match=f"the display does not answer: .*{name} at 0x3C on I2C bus 1") as caught:
        open_display(name)
    assert caught.value.fault.name == "display-lost"
    assert bus.open_ports == 0


@pytest.mark.parametrize("name", ["ssd1306", "sh1106"])
def test_oled_that_is_unplugged_fails_by_name_and_comes_back(oled: Any, name: str) -> None:
    bus = oled(name)
    display = open_display(name)
    bus.plugged = False
    for _ in range(2):
        with pytest.raises(DisplayFault, match="check its cable"):
            display.show(picture(display), [])
    display.close()
    bus.plugged = True
    with closing(open_display(name)) as display:
        display.show(picture(display), [])
        assert same(bus.panel.image(), picture(display))


@pytest.mark.parametrize(("options", "size"), [
    ({}, (240, 240)), ({"rotate": 90}, (240, 240)), ({"size": "320x240", "rotate": 180}, (320, 240)),
    ({"size": "320x240", "rotate": 270}, (240, 320)),
    ({"port": 1, "device": 1, "mhz": 8, "reset": "none", "backlight": "none"}, (240, 240)),
])
def test_lcd_shows_the_screen(lcd: Any, options: dict[str, Any], size: tuple[int, int]) -> None:
    with closing(open_display("st7789", options)) as display:
        assert (display.size, display.mode) == (size, "RGB")
        assert lcd.on
        assert lcd.place == (options.get("port", 0), options.get("device", 0))
        assert lcd.max_speed_hz == options.get("mhz", 32) * 1_000_000
        started = lcd.count
        display.show(picture(display), [])
        assert lcd.count - started == 3 * size[0] * size[1] + 11  # 3 commands, 8 bytes of window
        turn = options.get("rotate", 0)
        wide = size if turn in (0, 180) else size[::-1]
        assert same(lcd.image(*wide).rotate(turn, expand=True), picture(display), lost_bits=2)
    assert lcd.closed
    assert lcd.on


def test_lcd_uses_its_pins_and_gives_them_back(lcd: Any) -> None:
    factory = gpiozero.Device.pin_factory
    options = {"reset": 5, "backlight": 6}
    with closing(open_display("st7789", options)):
        assert factory.pin(5).state  # not held in reset
        assert factory.pin(6).state
        with pytest.raises(UsageError, match=r"GPIO\d+ cannot serve the display"):
            open_display("st7789", options)
    with closing(open_display("st7789", options)):
        pass


def test_lcd_without_its_library_or_bus_says_what_to_do(lcd: Any, dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (dev / "spidev0.0").unlink()
    with pytest.raises(BackendMissing, match=r"spidev0\.0 is not there: sudo raspi-config nonint do_spi 0"):
        open_display("st7789")
    monkeypatch.setitem(sys.modules, "spidev", None)
    with pytest.raises(BackendMissing, match=r"pip install 'alledge\[st7789\]'"):
        open_display("st7789")


@pytest.mark.parametrize("size", [(240, 240), (480, 320), (800, 480)])
@pytest.mark.parametrize(("bits", "spare", "swapped"),
                         [(16, 0, False), (16, 64, False), (32, 0, False), (32, 128, True)])
def test_framebuffer(dev: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], bits: int, spare: int,
                     swapped: bool) -> None:
    line = size[0] * bits // 8 + spare
    start = (0, 3) if spare else (0, 0)
    monkeypatch.setattr("fcntl.ioctl", buses.framebuffer_ioctl(size, bits, line, start, swapped))
    with closing(open_display("framebuffer")) as display:
        assert (display.size, display.mode) == (size, "RGB")
        display.show(picture(display), [])
        seen = buses.unpack((dev / "fb0").read_bytes(), size, bits, line, start[1] * line, swapped)
        drawn = np.asarray(picture(display))
        assert np.array_equal(seen, drawn if bits == 32 else drawn & np.array([0xF8, 0xFC, 0xF8], np.uint8))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_framebuffer_turned(dev: Path, monkeypatch: pytest.MonkeyPatch, turn: int) -> None:
    size, line = (480, 320), 480 * 4
    monkeypatch.setattr("fcntl.ioctl", buses.framebuffer_ioctl(size, 32, line))
    with closing(open_display("framebuffer", {"rotate": turn})) as display:
        assert display.size == (size if turn == 180 else size[::-1])
        display.show(picture(display), [])
        seen = buses.unpack((dev / "fb0").read_bytes(), size, 32, line)
        assert same(Image.fromarray(np.ascontiguousarray(seen)).rotate(turn, expand=True), picture(display))


def test_framebuffer_that_is_none_or_has_other_pixels(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DisplayFault, match=r"fb0: .*Inappropriate ioctl"):
        open_display("framebuffer")
    monkeypatch.setattr("fcntl.ioctl", buses.framebuffer_ioctl((240, 240), 24, 720))
    with pytest.raises(UsageError, match=r"has pixels of 24 bits.*fbset"):
        open_display("framebuffer")
    with pytest.raises(BackendMissing, match="fb1 is not there: connect a screen"):
        open_display("framebuffer", {"number": 1})


def test_framebuffer_reads_the_kernels_own_structures(tmp_path: Path) -> None:
    header = Path("/usr/include/linux/fb.h")
    if shutil.which("cc") is None or not header.exists():
        pytest.skip("no C compiler or no kernel headers here: apt-get install gcc linux-libc-dev")
    (tmp_path / "fb.c").write_text("""
        #include <linux/fb.h>
        #include <stddef.h>
        #include <stdio.h>
        #define V(f) (int) offsetof(struct fb_var_screeninfo, f)
        int main(void) {
            printf("%d %d %d %d %d %d %d %d %d %d ", V(xres), V(yres), V(xoffset), V(yoffset), V(bits_per_pixel),
                   V(red.offset), V(red.length), V(green.offset), V(blue.offset), V(blue.length));
            printf("%d %d ", (int) offsetof(struct fb_fix_screeninfo, line_length),
                   (int) (sizeof(struct fb_fix_screeninfo) > sizeof(struct fb_var_screeninfo)
                          ? sizeof(struct fb_fix_screeninfo) : sizeof(struct fb_var_screeninfo)));
            printf("%d %d", FBIOGET_VSCREENINFO, FBIOGET_FSCREENINFO); }""")
    subprocess.run(["cc", "-o", tmp_path / "fb", tmp_path / "fb.c"], check=True)
    *var, line, longest, get_var, get_fix = map(int, subprocess.run(
        [tmp_path / "fb"], capture_output=True, text=True, check=True).stdout.split())
    assert var == [0, 4, 16, 20, 24, 32, 36, 44, 56, 60]  # as `_VARIABLE` takes them
    assert framebuffer._FIXED.size - 4 == line
    assert longest <= 256
    assert (get_var, get_fix) == (0x4600, 0x4602)


@pytest.mark.parametrize(("name", "options", "said"), [
    ("ssd1306", {"address": 0x80, "rotate": 90}, "option address: .* 128; option rotate: .*0 or 180.*received 90"),
    ("sh1106", {"colour": "red"}, "option colour is unknown, expected port, address, rotate"),
    ("st7789", {"dc": 0, "size": "1x1", "reset": "nowhere"}, "option size: .*option dc: .*option reset"),
    ("framebuffer", {"number": True}, "option number: .*received True"),
    ("png", {"size": "1x1"}, "option size: .*received '1x1'"),
])
def test_wrong_options_are_all_named_before_anything_is_touched(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"display '{name}': {said}"):
        open_display(name, options)


@pytest.mark.parametrize("name", ["ssd1306", "sh1106", "st7789", "framebuffer"])
def test_a_port_that_is_not_there_names_the_command_that_makes_it(name: str, tmp_path: Path, lcd: Any,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "DEV", tmp_path / "empty")
    with pytest.raises(BackendMissing, match=r"is not there: (sudo raspi-config nonint do_\w+ 0|connect a screen)"):
        open_display(name)


def test_a_port_that_this_user_may_not_use_names_the_group(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(BackendMissing, match=r"may not use .*i2c-1: sudo usermod -aG i2c \$USER"):
        open_display("ssd1306")


def test_a_picture_display_is_never_given_words_alone(oled: Any) -> None:
    oled("ssd1306")
    with closing(open_display("ssd1306")) as display, pytest.raises(ValueError, match="expected a picture"):
        display.show(None, ["words"])
