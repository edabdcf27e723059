"""Bare glass: the colour of the light where the least stain is in its way, which is where a field is brightest."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.planes import split


def glass_colour(rgb: NDArray[np.uint8], share: float) -> NDArray[np.float64]:
    """Mean colour [3] of the brightest share (0-1, by green) of uint8 [H, W, 3] RGB."""
    planes = split(rgb)
    return mean_colour(planes, quantile(cumulative(planes[1]), 1 - share))


def mean_colour(planes: Sequence[cv2.typing.MatLike], least: int) -> NDArray[np.float64]:
    """Mean [3] of the pixels of red, green and blue planes uint8 [H, W] whose green is at least so bright."""
    return mean_of(bright_sums(planes, least))


def bright_sums(planes: Sequence[cv2.typing.MatLike], least: int) -> NDArray[np.float64]:
    """[4]: sums of red, green and blue over those pixels, and their number."""
    bright = cv2.threshold(planes[1], least - 1, 255, cv2.THRESH_BINARY)[1]
    sums = [cv2.norm(plane, cv2.NORM_L1, bright) for plane in planes]  # a tenth of the time of `cv2.mean`
    return np.array([*sums, cv2.countNonZero(bright)], np.float64)


def mean_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean [3] of `bright_sums`, of one part of a picture or of several added up."""
    return sums[:3] * (1 / sums[3])


def cumulative(levels: cv2.typing.MatLike) -> NDArray[np.float32]:
    """[256]: how many of uint8 [H, W] do not exceed each level."""
    return np.asarray(cv2.calcHist([levels], [0], None, [256], [0, 256]).cumsum(), np.float32)


def quantile(counts: NDArray[np.float32], share: float) -> int:
    """The lowest level that at least a share (0-1) of what `cumulative` has counted does not exceed."""
    return int(counts.searchsorted(share * counts[-1]))
