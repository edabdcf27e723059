"""Stand-ins for the hardware under the displays: an I2C bus, an SPI bus, a framebuffer; the drivers on them are real.

The panels keep a memory of their own as the datasheets say (SSD1306 rev. 1.1, SH1106 v2.3, ST7789V v1.0), so that a
test can compare what the glass would show with what was drawn.
"""

import errno
import struct
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class OledPanel:
    """128 columns x 8 pages of 8 rows. SSD1306: a window that data fill; SH1106: one page, from its column 2."""

    _ARGUMENTS: ClassVar = {0x20: 1, 0x21: 2, 0x22: 2, 0x81: 1, 0x8D: 1, 0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1,
                            0xDA: 1, 0xDB: 1}

    def __init__(self, sh1106: bool) -> None:
        self._sh1106 = sh1106
        self._memory = np.zeros((8, 132 if sh1106 else 128), np.uint8)
        self._columns, self._pages, self._at = (0, 127), (0, 7), [0, 0]
        self.on = False

    def write(self, kind: int, content: bytes) -> None:
        """A transfer: its control byte (0x00 commands, 0x40 data) and what follows."""
        assert kind in (0x00, 0x40)
        if kind == 0x40:
            for byte in content:
                self._put(byte)
            return
        rest = list(content)
        while rest:
            command = rest.pop(0)
            arguments = [rest.pop(0) for _ in range(0 if self._sh1106 and command == 0x20 else
                                                    self._ARGUMENTS.get(command, 0))]
            self._obey(command, arguments)

    def _obey(self, command: int, arguments: list[int]) -> None:
        if command in (0xAE, 0xAF):
            self.on = command == 0xAF
        elif command == 0x21:
            self._columns, self._at[1] = (arguments[0], arguments[1]), arguments[0]
        elif command == 0x22:
            self._pages, self._at[0] = (arguments[0], arguments[1]), arguments[0]
        elif 0xB0 <= command <= 0xB7:
            self._at[0] = command & 7
        elif command <= 0x0F:
            self._at[1] = self._at[1] & 0xF0 | command
        elif command <= 0x1F:
            self._at[1] = self._at[1] & 0x0F | (command & 0x0F) << 4

    def _put(self, byte: int) -> None:
        page, column = self._at
        self._memory[page, column] = byte
        self._at[1] += 1
        if not self._sh1106 and column == self._columns[1]:
            self._at = [self._pages[0] if page == self._pages[1] else page + 1, self._columns[0]]

    def image(self) -> Image.Image:
        """What it shows; the lowest bit of a byte is the topmost row."""
        seen = self._memory[:, 2:130] if self._sh1106 else self._memory
        return Image.fromarray(np.unpackbits(seen, axis=0, bitorder="little").reshape(8, 8, 128).reshape(64, 128) * 255)


class I2cBus:
    """Stands in for `smbus2.SMBus(port)`: one panel at one address, everything written to it, and a plug to pull."""

    def __init__(self, panel: OledPanel, address: int) -> None:
        self.panel, self.address = panel, address
        self.written: list[bytes] = []
        self.plugged, self.open_ports = True, 0

    def __call__(self, port: int) -> "I2cBus":
        self.open_ports += 1
        return self

    def write_i2c_block_data(self, address: int, register: int, data: list[int]) -> None:
        assert len(data) <= 32  # what SMBus allows
        if not self.plugged or address != self.address:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        self.written.append(bytes([register, *data]))
        self.panel.write(register, bytes(data))

    def close(self) -> None:
        self.open_ports -= 1


class SpiPanel:
    """An ST7789 and the bus it is on (stands in for `spidev.SpiDev`); `dc` tells data from commands."""

    def __init__(self, dc: Any) -> None:
        self._dc = dc
        self._memory = np.zeros((240, 320, 3), np.uint8)
        self._command, self._arguments, self._pixels = 0, b"", b""
        self._window = (0, 0, 0, 0)
        self.on, self.count, self.max_speed_hz, self.place = False, 0, 0, (-1, -1)
        self.closed = False

    def open(self, port: int, device: int) -> None:
        self.place = (port, device)

    def writebytes(self, data: list[int]) -> None:
        content = bytes(data)
        assert len(content) <= 4096  # the kernel's buffer
        self.count += len(content)
        if not self._dc():
            self._command, self._arguments, self._pixels = content[0], b"", b""
            self.on = {0x29: True, 0x28: False}.get(self._command, self.on)
        elif self._command == 0x2C:
            self._pixels += content
            self._draw()
        else:
            self._arguments += content
            if self._command in (0x2A, 0x2B) and len(self._arguments) == 4:
                first, last = struct.unpack(">2H", self._arguments)
                x, y, right, bottom = self._window
                self._window = (first, y, last, bottom) if self._command == 0x2A else (x, first, right, last)

    def _draw(self) -> None:
        x, y, right, bottom = self._window
        shape = (bottom - y + 1, right - x + 1, 3)
        if len(self._pixels) == np.prod(shape):
            six = np.frombuffer(self._pixels, np.uint8).reshape(shape) & 0xFC  # 18 bits per pixel
            self._memory[y:bottom + 1, x:right + 1] = six

    def image(self, width: int, height: int) -> Image.Image:
        return Image.fromarray(self._memory[:height, :width])

    def close(self) -> None:
        self.closed = True

    def as_module(self) -> ModuleType:
        """Stands in for the module spidev."""
        from importlib.machinery import ModuleSpec

        module = ModuleType("spidev")
        module.__spec__ = ModuleSpec("spidev", None)
        module.SpiDev = lambda: self  # type: ignore[attr-defined]
        return module


def framebuffer_ioctl(size: tuple[int, int], bits: int, line: int, start: tuple[int, int] = (0, 0),
                      swapped: bool = False) -> Any:
    """Stands in for `fcntl.ioctl` on a framebuffer: fills in what linux/fb.h says a driver fills in."""
    lengths, shifts = {16: ((5, 6, 5), (11, 5, 0)), 24: ((8, 8, 8), (16, 8, 0)), 32: ((8, 8, 8), (16, 8, 0))}[bits]
    if swapped:
        shifts = shifts[::-1]

    def ioctl(file: int, request: int, into: bytearray) -> int:
        if request == 0x4600:
            into[:32] = struct.pack("=8I", *size, size[0], 2 * size[1], *start, bits, 0)
            into[32:68] = struct.pack("=9I", *(n for pair in zip(shifts, lengths, strict=True) for n in (*pair, 0)))
        elif request == 0x4602:
            into[48:52] = struct.pack("=I", line)
        else:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        return 0
    return ioctl


def unpack(content: bytes, size: tuple[int, int], bits: int, line: int, skip: int = 0,
           swapped: bool = False) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB that a framebuffer of such pixels shows."""
    rows = [content[skip + y * line:][:size[0] * bits // 8] for y in range(size[1])]
    if bits == 16:
        v = np.stack([np.frombuffer(row, "<u2") for row in rows])
        return np.stack([v >> 11 << 3, (v >> 5 & 63) << 2, (v & 31) << 3], -1).astype(np.uint8)
    blue_first = np.stack([np.frombuffer(row, np.uint8).reshape(-1, 4) for row in rows])[..., :3]
    return blue_first if swapped else blue_first[..., ::-1]
