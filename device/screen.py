"""A verdict as a picture for a small display. Pure: same verdict, same pixels; tested against golden PNGs.

Two sizes: 128x64 in one bit (OLED) and 240x240 in colour (LCD). Text is fitted by measuring it, so no label and no
sentence ever runs off the glass, and RESEARCH USE ONLY is on every screen.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from alledge.errors import UsageError
from alledge.labels import INCONCLUSIVE, MALIGNANT, TITLES
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

from .lettering import Box, Ink, write, write_wrapped
from .words import percent

SMALL, LARGE = (128, 64), (240, 240)
SIZES = (SMALL, LARGE)

Colour = tuple[int, int, int]
_NIGHT: Colour = (12, 16, 28)
_PLATE: Colour = (34, 41, 58)
_WHITE: Colour = (238, 242, 248)
_GREY: Colour = (150, 160, 178)
_TEAL: Colour = (72, 201, 176)  # benign; neither pair below relies on red against green
_AMBER: Colour = (255, 176, 46)  # malignant
_RED: Colour = (255, 107, 107)  # faults


def screen(verdict: Verdict, size: tuple[int, int], tile: NDArray[np.uint8] | None = None) -> Image.Image:
    """Draw a verdict.

    Args:
        verdict: sequence and timings are shown where they are set.
        size: one of `SIZES`, width before height.
        tile: the field, uint8 [S, S, 3] RGB, for a thumbnail on the large screen.

    Returns:
        a picture of that size, mode "1" (small) or "RGB" (large).

    Raises:
        UsageError: for any other size.
    """
    image, draw = _blank(size)
    if size == SMALL:
        _draw_small(draw, verdict)
    else:
        _draw_large(image, draw, verdict, tile)
    return image


def fault_screen(sentence: str, size: tuple[int, int]) -> Image.Image:
    """Draw why nothing works, so that a box without a keyboard can say so. Arguments and errors as `screen`."""
    image, draw = _blank(size)
    if size == SMALL:
        write(draw, (1, 0, 127, 16), "Fault", 16, 1)
        write_wrapped(draw, (1, 16, 127, 52), sentence, (11,), 1)
    else:
        write(draw, (10, 8, 230, 50), "Fault", 36, _RED)
        write_wrapped(draw, (10, 58, 230, 212), sentence, (20, 17, 14, 12), _WHITE)
    return image


def _blank(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty screen with the one line that no screen goes without."""
    if size not in SIZES:
        raise UsageError(f"a screen of {size[0]}x{size[1]} is unknown: expected "
                         f"{' or '.join(f'{w}x{h}' for w, h in SIZES)}")
    image = Image.new("1", size, 0) if size == SMALL else Image.new("RGB", size, _NIGHT)
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1" if size == SMALL else "L"
    if size == SMALL:
        draw.rectangle((0, 53, 127, 63), fill=1)
        write(draw, (0, 53, 128, 64), RESEARCH_USE_ONLY, 11, 0, align="centre")
    else:
        draw.rectangle((0, 219, 239, 239), fill=_PLATE)
        write(draw, (6, 219, 234, 240), RESEARCH_USE_ONLY, 14, _WHITE, align="centre")
    return image, draw


def _draw_small(draw: ImageDraw.ImageDraw, verdict: Verdict) -> None:
    if verdict.caveat:
        write(draw, (1, 41, 127, 52), verdict.caveat, 11, 1, align="centre")
    if not verdict.conclusive:
        write(draw, (1, 0, 127, 19), verdict.title, 18, 1)
        write_wrapped(draw, (1, 19, 127, 41 if verdict.caveat else 52), _why(verdict), (11,), 1)
        return
    write(draw, (2, 0, 126, 25), verdict.title, 24, 1)
    write(draw, (88, 26, 126, 41), percent(verdict.confidence), 15, 1, align="right")
    _meter(draw, (2, 28, 84, 39), verdict.confidence, 1, None, outline=1)
    if not verdict.caveat:
        write(draw, (1, 41, 127, 52), _footnote(verdict), 11, 1)


def _draw_large(image: Image.Image, draw: ImageDraw.ImageDraw, verdict: Verdict,
                tile: NDArray[np.uint8] | None) -> None:
    ink = _ink(verdict.verdict)
    write(draw, (10, 5, 230, 53), verdict.title, 42, ink)
    left = 10
    if tile is not None:
        image.paste(Image.fromarray(tile).resize((74, 74), Image.Resampling.BOX), (10, 58))
        draw.rectangle((9, 57, 84, 132), outline=_GREY)
        left = 94
    if verdict.conclusive:
        write(draw, (left, 56, 230, 102), percent(verdict.confidence), 44, _WHITE)
        _meter(draw, (left, 110, 230, 126), verdict.confidence, ink, _PLATE)
    else:
        write_wrapped(draw, (left, 56, 230, 134), _why(verdict), (17, 15, 13, 12), _WHITE)
    _draw_classes(draw, verdict)
    write(draw, (10, 202, 122 if verdict.caveat else 230, 218), _footnote(verdict), 12, _GREY)
    write(draw, (124, 202, 230, 218), verdict.caveat, 13, _RED, align="right")


def _draw_classes(draw: ImageDraw.ImageDraw, verdict: Verdict) -> None:
    for row, (label, share) in enumerate(verdict.probabilities.items()):
        top, chosen = 138 + 16 * row, label == verdict.verdict
        write(draw, (10, top, 88, top + 15), TITLES[label], 13, _WHITE if chosen else _GREY)
        _meter(draw, (92, top + 3, 190, top + 12), share, _ink(label) if chosen else _GREY, _PLATE)
        write(draw, (192, top, 230, top + 15), percent(share), 13, _WHITE if chosen else _GREY, align="right")


def _meter(draw: ImageDraw.ImageDraw, box: Box, share: float, ink: Ink, ground: Ink | None,
           outline: Ink | None = None) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=ground, outline=outline)
    inset = 0 if outline is None else 2
    reach = round((right - left - 2 * inset) * share)
    if reach > 0:
        draw.rectangle((left + inset, top + inset, left + inset + reach, bottom - inset), fill=ink)


def _ink(label: str) -> Colour:
    if label == INCONCLUSIVE:
        return _GREY
    return _AMBER if label in MALIGNANT else _TEAL


def _why(verdict: Verdict) -> str:
    """The first reason, as the sentence it is."""
    return verdict.reasons[0][:1].upper() + verdict.reasons[0][1:] if verdict.reasons else ""


def _footnote(verdict: Verdict) -> str:
    total = verdict.timings_ms.get("total")
    parts = (f"Field {verdict.sequence}" if verdict.sequence else "", "" if total is None else f"{total:.0f} ms")
    return "  ·  ".join(part for part in parts if part)
