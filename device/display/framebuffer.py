"""A screen that Linux drives (HDMI, DSI, or a small panel with a kernel driver), through its framebuffer.

luma's own framebuffer goes pixel by pixel in Python and takes every line to be as long as the picture is wide; here a
frame is one array operation, and size, line length and the place of each colour are asked of the driver.
"""

import fcntl
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from alledge.backends import Lack
from alledge.errors import UsageError

from .. import nodes
from ..faults import DisplayFault

# linux/fb.h: requests, and the head of each structure up to what is read here
_GET_VARIABLE, _GET_FIXED = 0x4600, 0x4602
_VARIABLE = struct.Struct("=8I 3I 3I 3I")  # sizes, offsets, depth, grey; then offset, length, order of red, green, blue
_FIXED = struct.Struct("@16s L 4I 3H I")  # the last one is the length of a line
_LENGTHS = {16: (5, 6, 5), 32: (8, 8, 8)}  # bits per pixel -> bits of red, green, blue
_TURNS = {0: None, 90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


@dataclass(frozen=True)
class Geometry:
    """Of a framebuffer. size: width, height in pixels; start: first byte shown; line: bytes from line to line;
    bits: per pixel, 16 or 32; shifts: of red, green and blue in it.
    """

    size: tuple[int, int]
    start: int
    line: int
    bits: int
    shifts: tuple[int, int, int]


def create(number: Annotated[int, Field(ge=0, le=31)] = 0,
           rotate: Literal[0, 90, 180, 270] = 0) -> "FramebufferDisplay":
    """Open it.

    Args:
        number: N of /dev/fbN.
        rotate: degrees clockwise.

    Raises:
        UsageError: when its pixels are neither RGB565 nor of 32 bits.
        DisplayFault: when it cannot be opened.
    """
    path = nodes.DEV / f"fb{number}"
    try:
        return FramebufferDisplay(path, rotate)
    except OSError as error:
        raise DisplayFault("display-lost", f"{path}: {error}") from error


def missing(number: int, **_: object) -> Lack | None:
    """What keeps this user from the framebuffer."""
    return nodes.missing_node(f"fb{number}", "connect a screen and start again; on a Raspberry Pi with "
                              "dtoverlay=vc4-kms-v3d in /boot/firmware/config.txt", "video")


class FramebufferDisplay:
    """Pictures in RGB, of the screen's own size."""

    mode = "RGB"

    def __init__(self, path: Path, rotate: int = 0) -> None:
        self._path, self._turn = path, _TURNS[rotate]
        self._file = os.open(path, os.O_RDWR)
        try:
            self._geometry = read_geometry(self._file, str(path))
        except BaseException:
            os.close(self._file)
            raise
        self.size = self._geometry.size if rotate in (0, 180) else self._geometry.size[::-1]

    def show(self, image: Image.Image | None, words: Sequence[str]) -> None:
        """Write the picture into the screen's memory, line by line where lines are longer than they look."""
        if image is None:
            raise ValueError(f"{self._path}: expected a picture, received words only")
        turned = image if self._turn is None else image.transpose(self._turn)
        pixels = pack(np.asarray(turned, np.uint8), self._geometry)
        start, line = self._geometry.start, self._geometry.line
        rows = [pixels] if pixels.shape[1] * pixels.itemsize == line else list(pixels)
        try:
            for number, row in enumerate(rows):
                os.pwrite(self._file, row.tobytes(), start + number * line)
        except OSError as error:
            raise DisplayFault("display-lost", f"{self._path}: {error}") from error

    def close(self) -> None:
        """Let go of the file; the picture stays."""
        os.close(self._file)


def read_geometry(file: int, name: str) -> Geometry:
    """Ask the driver behind an open file.

    Raises:
        UsageError: when its pixels are neither RGB565 nor of 32 bits.
        OSError: when it is no framebuffer.
    """
    variable, fixed = bytearray(256), bytearray(256)  # both structures are shorter
    fcntl.ioctl(file, _GET_VARIABLE, variable)
    fcntl.ioctl(file, _GET_FIXED, fixed)
    width, height, _, _, left, top, bits, _, *colours = _VARIABLE.unpack_from(variable)
    line = _FIXED.unpack_from(fixed)[-1]
    if _LENGTHS.get(bits) != tuple(colours[1::3]):
        raise UsageError(f"display 'framebuffer': {name} has pixels of {bits} bits, {colours[1::3]} of red, green, "
                         "blue; expected 16 (RGB565) or 32: set its mode with fbset")
    return Geometry((width, height), top * line + left * bits // 8, line, bits, (colours[0], colours[3], colours[6]))


def pack(rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """uint8 [H, W, 3] RGB as the driver's pixels, uint16 or uint32 [H, W]; the lowest bits of a colour may be lost."""
    kind = np.uint16 if geometry.bits == 16 else np.uint32
    packed = np.zeros(rgb.shape[:2], kind)
    for channel, (length, shift) in enumerate(zip(_LENGTHS[geometry.bits], geometry.shifts, strict=True)):
        packed |= (rgb[..., channel] >> (8 - length)).astype(kind) << kind(shift)
    return packed
