"""A verdict as a picture for a display. Pure: same verdict, same pixels; tested against golden PNGs.

For every size that `canvas.class_of` knows: 128x64 in one bit (OLED), colour from 240x240 (LCD) to whatever Linux
drives. Text is fitted by measuring it, so no label and no sentence ever runs off the glass, and RESEARCH USE ONLY is on
every screen.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from . import screen_colour, screen_small
from .canvas import Canvas, Class
from .notice import Notice

Told = Verdict | SampleVerdict | Notice


def screen(told: Told, size: tuple[int, int], tile: NDArray[np.uint8] | None = None, page: int = 0) -> Image.Image:
    """Draw a field's verdict, what the fields of a sample came to, or how the machine is and what to do about it.

    Args:
        told: of a field, sequence, timings and faults are shown where they are set; a sample's heading is inverted, so
            that it is not taken for a field's.
        size: width before height.
        tile: the field, uint8 [S, S, 3] RGB, for a thumbnail on a colour screen.
        page: of a sentence that is too long for the glass, counted from 0; after the last comes the first again.

    Returns:
        a picture of that size, mode "1" (128x64) or "RGB".

    Raises:
        UsageError: for a size that there is no layout for.
    """
    return drawn(told, size, tile, page)[0]


def drawn(told: Told, size: tuple[int, int], tile: NDArray[np.uint8] | None = None,
          page: int = 0) -> tuple[Image.Image, int]:
    """As `screen`, and how many pages there are: one, unless a sentence does not fit."""
    canvas = Canvas(size, page)
    layout = screen_small if canvas.kind is Class.SMALL else screen_colour
    if isinstance(told, Notice):
        layout.draw_notice(canvas, told)
    elif isinstance(told, SampleVerdict):
        layout.draw_sample(canvas, told)
    else:
        layout.draw_verdict(canvas, told, tile)
    return canvas.image, canvas.pages
