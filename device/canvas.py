"""A blank screen of any supported size, with the one line that no screen goes without, and what can be drawn on it.

Three classes of glass. One bit: an OLED of 128x64. Colour from 240x240 up: nearly square (TALL), or clearly wider than
high (WIDE). A colour class is laid out once, in units of a 240 or 320 units high screen, and scaled to the pixels.
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from alledge.errors import UsageError
from alledge.verdict import RESEARCH_USE_ONLY

from .lettering import Box, Ink, height_of, write, write_wrapped

SMALL = (128, 64)
_LEAST = 240  # px of a colour screen; below that its text could not be read at arm's length
_WIDE_FROM = 1.4  # width over height
_STRIP = {"tall": 23, "wide": 30}  # units

Colour = tuple[int, int, int]
NIGHT: Colour = (12, 16, 28)
PLATE: Colour = (34, 41, 58)
WHITE: Colour = (238, 242, 248)
GREY: Colour = (150, 160, 178)
TEAL: Colour = (72, 201, 176)  # benign; neither pair below relies on red against green
AMBER: Colour = (255, 176, 46)  # malignant
RED: Colour = (255, 107, 107)  # faults


class Class(Enum):
    """Of screens that share a layout."""

    SMALL = "small"
    TALL = "tall"
    WIDE = "wide"


def class_of(size: tuple[int, int]) -> Class:
    """The class of a screen of so many pixels, width before height.

    Raises:
        UsageError: when there is no layout for it.
    """
    if size == SMALL:
        return Class.SMALL
    if min(size) < _LEAST:
        raise UsageError(f"a screen of {size[0]}x{size[1]} is unknown: expected {SMALL[0]}x{SMALL[1]} in one bit, or "
                         f"{_LEAST}x{_LEAST} and more in colour")
    return Class.WIDE if size[0] / size[1] >= _WIDE_FROM else Class.TALL


class Canvas:
    """Boxes, sizes and places are in units: pixels on a small screen, scaled ones on a larger.

    Args:
        size: in pixels.
        page: of the sentences that are too long for it, counted from 0.

    Attributes:
        width, height: of what is free above the strip at the bottom, in units.
        pages: how many the longest sentence written so far has.
    """

    def __init__(self, size: tuple[int, int], page: int = 0) -> None:
        self.kind = class_of(size)
        self._page, self.pages = page, 1
        small = self.kind is Class.SMALL
        self.image = Image.new("1", size, 0) if small else Image.new("RGB", size, NIGHT)
        self._draw = ImageDraw.Draw(self.image)
        self._draw.fontmode = "1" if small else "L"
        self._scale = 1.0 if small else min(size) / (320 if self.kind is Class.WIDE else 240)
        self.width = int(size[0] / self._scale)
        self.height = int(size[1] / self._scale) - _STRIP.get(self.kind.value, 11)
        self._strip(size)

    def text(self, box: Box, text: str, size: int, ink: Ink, align: str = "left") -> None:
        """One line, as large as `size` and the box allow."""
        write(self._draw, self._box(box), text, self._px(size), ink, align)

    def sentence(self, box: Box, text: str, sizes: tuple[int, ...], ink: Ink) -> None:
        """As many lines as the box holds, at the first of `sizes` at which all of it fits; else a page of it."""
        pages = write_wrapped(self._draw, self._box(box), text, tuple(map(self._px, sizes)), ink, self._page)
        self.pages = max(self.pages, pages)

    def height_of(self, text: str, size: int, width: int) -> int:
        """Units that a text takes when it is wrapped to a width."""
        return int(-(-height_of(text, self._px(size), self._px(width), self._draw.fontmode) // self._scale))

    def plate(self, box: Box, ink: Ink, outline: Ink | None = None) -> None:
        """A filled rectangle."""
        self._draw.rectangle(self._box(box), fill=ink, outline=outline)

    def meter(self, box: Box, share: float, ink: Ink, ground: Ink | None, outline: Ink | None = None) -> None:
        """A bar filled by a share of 0-1."""
        left, top, right, bottom = self._box(box)
        self._draw.rectangle((left, top, right, bottom), fill=ground, outline=outline)
        inset = 0 if outline is None else 2
        reach = round((right - left - 2 * inset) * share)
        if reach > 0:
            self._draw.rectangle((left + inset, top + inset, left + inset + reach, bottom - inset), fill=ink)

    def picture(self, box: Box, tile: NDArray[np.uint8]) -> None:
        """uint8 [S, S, 3] RGB, framed."""
        left, top, right, bottom = self._box(box)
        self.image.paste(Image.fromarray(tile).resize((right - left, bottom - top), Image.Resampling.BOX), (left, top))
        self._draw.rectangle((left - 1, top - 1, right, bottom), outline=GREY)

    def _strip(self, size: tuple[int, int]) -> None:
        width, bottom = size
        top = self._px(self.height)
        small = self.kind is Class.SMALL
        self._draw.rectangle((0, top, width - 1, bottom - 1), fill=1 if small else PLATE)
        letters = 11 if small else self._px(0.75 * _STRIP[self.kind.value])
        write(self._draw, (0, top, width, bottom), RESEARCH_USE_ONLY, letters, 0 if small else WHITE, align="centre")

    def _px(self, units: float) -> int:
        return round(units * self._scale)

    def _box(self, box: Box) -> Box:
        left, top, right, bottom = map(self._px, box)
        return left, top, right, bottom
