"""Text that fits its box, by measuring it in the font that ships with Pillow."""

from functools import lru_cache

from PIL import ImageDraw, ImageFont

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Ink = tuple[int, int, int] | int
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

SMALLEST = 10  # px; below that the letters of this font run together in one bit
_ELLIPSIS = "..."
_ANCHORS = {"left": "lm", "centre": "mm", "right": "rm"}


def write(draw: ImageDraw.ImageDraw, box: Box, text: str, size: int, ink: Ink, align: str = "left") -> None:
    """One line, centred vertically, as large as `size` and the box allow; cut with an ellipsis as a last resort."""
    left, top, right, bottom = box
    text, size = _fit(text, size, right - left, draw.fontmode)
    x = {"left": left, "centre": (left + right) // 2, "right": right}[align]
    _put(draw, x, (top + bottom) // 2, text, size, ink, align)


def write_wrapped(draw: ImageDraw.ImageDraw, box: Box, text: str, sizes: tuple[int, ...], ink: Ink) -> None:
    """A sentence over as many lines as the box holds, at the first of `sizes` at which all of it fits."""
    left, top, right, bottom = box
    size = next((size for size in sizes if height_of(text, size, right - left, draw.fontmode) <= bottom - top),
                sizes[-1])
    lines, pitch = _wrap(text, size, right - left, draw.fontmode), _pitch(size)
    room = max((bottom - top) // pitch, 1)
    if len(lines) > room:
        lines = [*lines[:room - 1], _cut(" ".join(lines[room - 1:]), size, right - left, draw.fontmode)]
    for row, line in enumerate(lines):
        _put(draw, left, top + row * pitch + pitch // 2, line, size, ink, "left")


@lru_cache(maxsize=64)
def font_of(size: int) -> Font:
    """Pillow's own font at a size in pixels; no font file is needed on a board."""
    return ImageFont.load_default(size)


def width_of(text: str, size: int, mode: str) -> float:
    """Pixels that a line takes in font mode "1" or "L": one-bit letters stand on whole pixels and take more room."""
    return font_of(size).getlength(_spaced(text, mode), mode)


def height_of(text: str, size: int, width: int, mode: str) -> int:
    """Pixels from top to bottom of a text wrapped to a width."""
    return len(_wrap(text, size, width, mode)) * _pitch(size)


def _put(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, size: int, ink: Ink, align: str) -> None:
    draw.text((x, y), _spaced(text, draw.fontmode), fill=ink, font=font_of(size), anchor=_ANCHORS[align])


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
    pieces = [""]
    for letter in word:
        if pieces[-1] and width_of(pieces[-1] + letter, size, mode) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
