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


def screen(verdict: Verdict, size: tuple[int, int], tile: NDArray[np.uint8] | None = None) -> Image.Image:
    """Draw a verdict.

    Args:
        verdict: sequence, timings and faults are shown where they are set.
        size: width before height.
        tile: the field, uint8 [S, S, 3] RGB, for a thumbnail on a colour screen.

    Returns:
        a picture of that size, mode "1" (128x64) or "RGB".

    Raises:
        UsageError: for a size that there is no layout for.
    """
    canvas = Canvas(size)
    if canvas.kind is Class.SMALL:
        screen_small.draw_verdict(canvas, verdict)
    else:
        screen_colour.draw_verdict(canvas, verdict, tile)
    return canvas.image


def sample_screen(sample: SampleVerdict, size: tuple[int, int]) -> Image.Image:
    """Draw what the fields of a sample came to; its heading is inverted, so that it is not taken for a field's."""
    canvas = Canvas(size)
    (screen_small if canvas.kind is Class.SMALL else screen_colour).draw_sample(canvas, sample)
    return canvas.image


def notice_screen(notice: Notice, size: tuple[int, int]) -> Image.Image:
    """Draw how the machine is and what to do about it."""
    canvas = Canvas(size)
    (screen_small if canvas.kind is Class.SMALL else screen_colour).draw_notice(canvas, notice)
    return canvas.image
