"""Drawn smears as a camera: endless, repeatable, for demos, tests and benchmarks. Not patient data."""

import numpy as np
from numpy.typing import NDArray

from alledge.labels import LABELS
from alledge.synthetic import draw_field

from . import Frame, now
from ._query import Query

KEYS = ("seed", "class", "size", "width", "height", "fields")
_SIZES = range(32, 4097)  # px, what `draw_field` draws


def create(rest: str) -> "SyntheticCamera":
    """Open `synthetic://?seed=1&class=pre_b&size=224`; without a class all four come in turn.

    `width` and `height` ask for pictures that are not square. With `fields=N` only N fields are drawn, once, and then
    come round again: the fastest camera there is, to measure everything else with.

    Raises:
        UsageError: for an unknown key, class, or a number out of range.
    """
    return SyntheticCamera(*parse(rest))


def parse(rest: str) -> tuple[int, str | None, tuple[int, int], int]:
    """Seed, class, height and width, and number of fields (0: endless) of `synthetic://` + rest.

    Raises:
        UsageError: for whatever in it cannot be used.
    """
    place, _, query = rest.partition("?")
    with Query(f"synthetic://{rest}", query, KEYS) as asked:
        if place.strip("/"):
            asked.refuse(f"expected {', '.join(KEYS)} after '?', received the path {place!r}")
        size = asked.whole("size", _SIZES) or 224
        shape = asked.whole("height", _SIZES) or size, asked.whole("width", _SIZES) or size
        return (asked.whole("seed", range(2**31)) or 0, asked.choice("class", LABELS), shape,
                asked.whole("fields", range(1, 1001)) or 0)


class SyntheticCamera:
    """Field i is drawn from seed + i; the same URI gives the same fields."""

    def __init__(self, seed: int, label: str | None, shape: tuple[int, int], fields: int = 0) -> None:
        self._seed, self._label, self._shape = seed, label, shape
        self._kept = [self._draw(i) for i in range(fields)]
        self._given = 0

    def read(self) -> Frame | None:
        """The next field."""
        number = self._given
        self._given += 1
        rgb, source = self._kept[number % len(self._kept)] if self._kept else self._draw(number)
        return Frame(rgb, now(), {"source": source})

    def close(self) -> None:
        """Nothing is held."""

    def _draw(self, number: int) -> tuple[NDArray[np.uint8], str]:
        """Field `number`, uint8 [H, W, 3] RGB, read-only: the middle of a square one."""
        label = self._label or LABELS[number % len(LABELS)]
        height, width = self._shape
        square = draw_field(label, self._seed + number, max(height, width)).rgb
        top, left = (square.shape[0] - height) // 2, (square.shape[1] - width) // 2
        rgb = np.ascontiguousarray(square[top:top + height, left:left + width])
        rgb.flags.writeable = False
        return rgb, f"synthetic {label} seed {self._seed + number}"
