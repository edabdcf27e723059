"""Digits and the percent sign for small type in one bit, where an outline font's 6, 8 and 9 come out alike.

Drawn by hand, as high as the capitals beside them at 10 and 11 px, and standing on the same line.
"""

from functools import lru_cache

from PIL import Image

HEIGHT = 8  # px
GAP = 1  # px after each
_SHAPES = {
    "0": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
    "1": ("..#", ".##", "#.#", "..#", "..#", "..#", "..#", "..#"),
    "2": (".###.", "#...#", "....#", "....#", "...#.", "..#..", ".#...", "#####"),
    "3": ("####.", "....#", "....#", ".###.", "....#", "....#", "....#", "####."),
    "4": ("...#.", "..##.", "..##.", ".#.#.", "#..#.", "#####", "...#.", "...#."),
    "5": ("#####", "#....", "#....", "####.", "....#", "....#", "#...#", ".###."),
    "6": ("..##.", ".#...", "#....", "####.", "#...#", "#...#", "#...#", ".###."),
    "7": ("#####", "....#", "....#", "...#.", "...#.", "..#..", "..#..", "..#.."),
    "8": (".###.", "#...#", "#...#", ".###.", "#...#", "#...#", "#...#", ".###."),
    "9": (".###.", "#...#", "#...#", "#...#", ".####", "....#", "...#.", ".##.."),
    "%": ("##....#", "##...#.", "....#..", "...#...", "...#...", "..#....", ".#...##", "#....##"),
}


@lru_cache(maxsize=len(_SHAPES))
def shape_of(character: str) -> Image.Image | None:
    """A character as a picture in one bit; None for all but digits and the percent sign."""
    rows = _SHAPES.get(character)
    if rows is None:
        return None
    shape = Image.new("1", (len(rows[0]), HEIGHT))
    shape.putdata([255 * (pixel == "#") for row in rows for pixel in row])
    return shape
