"""Text that fits its box, by measuring it in the font that ships with Pillow."""

import re
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from .digits import GAP, HEIGHT, shape_of

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Ink = tuple[int, int, int] | int
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

SMALLEST = 10  # px; below that the letters of this font run together in one bit
_OWN_DIGITS_TO = 11  # px; up to here digits in one bit are those of `digits`
_ELLIPSIS = "..."
_ANCHORS = {"left": "lm", "centre": "mm", "right": "rm"}
_BEFORE = {"left": 0.0, "centre": 0.5, "right": 1.0}  # share of a text's width that lies before its anchor


def write(draw: ImageDraw.ImageDraw, box: Box, text: str, size: int, ink: Ink, align: str = "left") -> None:
    """One line, centred vertically, as large as `size` and the box allow; cut with an ellipsis as a last resort."""
    left, top, right, bottom = box
    text, size = _fit(text, size, right - left, draw.fontmode)
    x = {"left": left, "centre": (left + right) // 2, "right": right}[align]
    _put(draw, x, (top + bottom) // 2, text, size, ink, align)


def write_wrapped(draw: ImageDraw.ImageDraw, box: Box, text: str, sizes: tuple[int, ...], ink: Ink,
                  page: int = 0) -> int:
    """A sentence over as many lines as the box holds, at the first of `sizes` at which all of it fits.

    What fits at none has pages, each but the last with an ellipsis at its end; after the last comes the first again.

    Returns:
        how many pages it has.
    """
    left, top, right, bottom = box
    width, height, mode = right - left, bottom - top, draw.fontmode
    size = next((size for size in sizes if height_of(text, size, width, mode) <= height), sizes[-1])
    pages = _pages(text, size, width, max(height // _pitch(size), 1), mode)
    for row, line in enumerate(pages[page % len(pages)]):
        _put(draw, left, top + row * _pitch(size) + _pitch(size) // 2, line, size, ink, "left")
    return len(pages)


@lru_cache(maxsize=64)
def font_of(size: int) -> Font:
    """Pillow's own font at a size in pixels; no font file is needed on a board."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=1024)
def width_of(text: str, size: int, mode: str) -> float:
    """Pixels that a line takes in font mode "1" or "L": one-bit letters stand on whole pixels and take more room."""
    return sum(_width(run, size, mode) for run in _runs(_spaced(text, mode), size, mode))


def height_of(text: str, size: int, width: int, mode: str) -> int:
    """Pixels from top to bottom of a text wrapped to a width."""
    return len(_wrap(text, size, width, mode)) * _pitch(size)


def _put(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, size: int, ink: Ink, align: str) -> None:
    runs, font = _runs(_spaced(text, draw.fontmode), size, draw.fontmode), font_of(size)
    if len(runs) == 1 and shape_of(runs[0]) is None:
        draw.text((x, y), runs[0], fill=ink, font=font, anchor=_ANCHORS[align])
        return
    place = x - _BEFORE[align] * width_of(text, size, draw.fontmode)
    line = y + int(font.getbbox("H", draw.fontmode, anchor="lm")[3])
    for run in runs:
        shape = shape_of(run)
        if shape is None:
            draw.text((round(place), y), run, fill=ink, font=font, anchor="lm")
        else:
            draw.bitmap((round(place), line - HEIGHT), shape, fill=ink)
        place += _width(run, size, draw.fontmode)


def _runs(text: str, size: int, mode: str) -> list[str]:
    """The text in one, or where digits are drawn, each of them alone and what is between them together."""
    return re.findall(r"[0-9%]|[^0-9%]+", text) if mode == "1" and size <= _OWN_DIGITS_TO else [text]


def _width(run: str, size: int, mode: str) -> float:
    shape = shape_of(run) if mode == "1" and size <= _OWN_DIGITS_TO else None
    return font_of(size).getlength(run, mode) if shape is None else shape.width + GAP


def _spaced(text: str, mode: str) -> str:
    """In one bit a single space is rounded down to hardly more than the gap between two letters."""
    return text.replace(" ", "  ") if mode == "1" else text


def _pitch(size: int) -> int:
    """Pixels from one line to the next; small type needs none to spare."""
    return size if size <= 11 else round(size * 1.2)


@lru_cache(maxsize=256)
def _fit(text: str, size: int, width: int, mode: str) -> tuple[str, int]:
    while size > SMALLEST and width_of(text, size, mode) > width:
        size -= 1
    return _cut(text, size, width, mode), size


def _cut(text: str, size: int, width: int, mode: str) -> str:
    if width_of(text, size, mode) <= width:
        return text
    while text and width_of(text + _ELLIPSIS, size, mode) > width:
        text = text[:-1]
    return text.rstrip() + _ELLIPSIS


def _pages(text: str, size: int, width: int, room: int, mode: str) -> list[list[str]]:
    """The lines of each page of so many lines; the last is full, too: a lone word says little."""
    lines = _wrap(text, size, width, mode)
    if len(lines) <= room:
        return [lines]
    lines = _wrap(text, size, width - int(width_of(_ELLIPSIS, size, mode)), mode)
    pages = [lines[min(start, len(lines) - room):][:room] for start in range(0, len(lines), room)]
    return [[*page[:-1], page[-1] + _ELLIPSIS] for page in pages[:-1]] + pages[-1:]


def _wrap(text: str, size: int, width: int, mode: str) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer, size, mode) <= width:
            lines[-1] = longer
        else:
            lines += _pieces(word, size, width, mode)
    return [line for line in lines if line]


def _pieces(word: str, size: int, width: int, mode: str) -> list[str]:
    """A word (a path, most likely) in pieces that fit a line each."""
    if width_of(word, size, mode) <= width:
        return [word]
    pieces = [""]
    for letter in word:
        if pieces[-1] and width_of(pieces[-1] + letter, size, mode) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
