"""A picture in parts: its colours as planes, and bands of rows that a core's own cache holds."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

BAND = 2**18  # pixels of a band


def split(picture: cv2.typing.MatLike, into: Sequence[NDArray[np.uint8]] | None = None) -> Sequence[NDArray[np.uint8]]:
    """Three planes uint8 [H, W] of uint8 [H, W, 3], in `into` where that is given.

    Left to itself `cv2.split` copies every plane once more on its way to Python, which takes two thirds of its time.
    """
    room = into or [np.empty(picture.shape[:2], np.uint8) for _ in range(3)]
    return [np.asarray(plane, np.uint8) for plane in cv2.split(picture, room)]


def bands(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """[H, W, ...] in parts of whole rows.

    What is made of one is worked on while it is in the cache, and its memory serves the next. What is made of a whole
    large picture is new memory every time, which the system hands over page by page.
    """
    rows = max(BAND // picture.shape[1], 1)
    return [picture[top:top + rows] for top in range(0, len(picture), rows)]
