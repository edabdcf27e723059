"""A field's heat map: how the likeliest class fares when a square of the field is covered."""

from collections.abc import Callable
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.errors import AlledgeError
from alledge.labels import TITLES
from alledge.verdict import Verdict

from ..occlusion import GRID, Occlusion
from ..words import percent
from .pictures import embedded, fitted, middle

Occlude = Callable[[Verdict, NDArray[np.uint8]], Occlusion]

_FALLS, _RISES = (214, 40, 30), (40, 90, 220)  # RGB
_FULL = 0.5  # a change that has the whole colour; the same in all fields, so that a weak map looks weak
_OPAQUE = 0.7
_LEAST = 0.05  # a smaller change has no number
LEGEND = (f"<h2>Heat maps</h2><p>Made when this page was: each of {GRID} x {GRID} squares of the archived picture in "
          "turn was covered with the colour of bare glass, and the model asked again. Red: the likeliest class lost "
          "probability, so the square had spoken for it; blue: it gained. Numbers are percentage points, from "
          f"{100 * _LEAST:.0f} on; from {100 * _FULL:.0f} on the colour is full. Where several cells say the same, no "
          "square changes much. A map shows what the answer of this model hangs on, not why, and not what is a blast. "
          "Do not read a diagnosis from it.</p>")


def figure(row: Verdict, rgb: NDArray[np.uint8], occlude: Occlude) -> str:
    """The map of one field, uint8 [H, W, 3] RGB, with a caption; or why there is none."""
    try:
        found = occlude(row, rgb)
    except AlledgeError as error:
        return f"<p class=note>{escape(str(error))}</p>"
    whole = f"{TITLES[found.label]} {percent(found.probability)} when nothing is covered"
    if float(np.abs(found.change).max()) < _LEAST:
        return (f"<p class=note>No heat map: {whole}, and no covered square changes that by {100 * _LEAST:.0f} "
                "points.</p>")
    return (f"{embedded(_drawn(rgb, found.change), f'heat map of field {row.sequence}')}"
            f"<p class=note>Heat map: {whole}.</p>")


def _drawn(rgb: NDArray[np.uint8], change: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Squares over a grey copy, which has no colour to be mistaken for theirs."""
    grey = cv2.cvtColor(cv2.cvtColor(fitted(rgb), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    top, left, side = middle(np.asarray(grey, np.uint8))
    edges = np.linspace(0, side, GRID + 1).round().astype(int)
    for (down, across), value in np.ndenumerate(change):
        y, x = top + edges[down], left + edges[across]
        square = grey[y:top + edges[down + 1], x:left + edges[across + 1]]
        share = _OPAQUE * min(abs(value) / _FULL, 1.0)
        square[:] = np.rint((1 - share) * square + share * np.array(_FALLS if value < 0 else _RISES))
        if abs(value) >= _LEAST:
            for colour, width in (((255, 255, 255), 5), ((20, 20, 20), 2)):  # dark in a light seam: read on any square
                cv2.putText(square, f"{100 * value:+.0f}", (4, square.shape[0] // 2 + 7), cv2.FONT_HERSHEY_SIMPLEX,
                            square.shape[1] / 90, colour, width, cv2.LINE_AA)
    return np.asarray(grey, np.uint8)
