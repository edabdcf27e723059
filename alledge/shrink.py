"""A square made smaller by averaging over areas, to the same bytes on x86-64 and on arm64.

OpenCV adds areas up in float, and ARM's fused multiply-add rounds another way than x86 does. So first by the largest
whole factor, in integers; for the rest of the way by a ratio that leaves rounding nothing to decide. Where no factor
fits, less than one pixel of the result is trimmed at two edges, so that one does.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_FAR = 3  # times the wanted side: from there on double precision would take much memory
_WHOLE = 15  # largest numerator of a ratio whose sums, up to 255 * 15**2, fit into 16 bits


def shrink(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8 [S, S, 3] averaged down to [size, size, 3]; S > size."""
    side = square.shape[0]
    factor = max(k for k in range(1, side // size + 1) if side % k == 0)
    if side > _FAR * size * factor:
        factor = side // size
        edge, side = side % factor // 2, side - side % factor
        square = square[edge:edge + side, edge:edge + side]
    if factor > 1:
        square = _by_factor(square, factor)
    return square if square.shape[0] == size else _by_ratio(square, size)


def _by_factor(square: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The mean of every area of factor x factor pixels.

    Of an odd number of pixels no mean lies half way between two levels, so that there is one way to round it; a box
    blur of every pixel then takes a third of the time of INTER_AREA.
    """
    size = square.shape[0] // factor
    if factor % 2 == 0:
        return _resized(square, size, cv2.INTER_AREA)
    return _resized(cv2.blur(square, (factor, factor), anchor=(0, 0)), size, cv2.INTER_NEAREST)


def _by_ratio(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Areas of p / q pixels a side: in 16-bit integers where p is odd (as above) and small, else in double precision.

    It is 15 / 14 for 224 of 240, to which a factor brings 480, 720, 960, 1200, 1440 and 2160 rows.
    """
    side = square.shape[0]
    p = side // gcd(side, size)
    if p % 2 == 0 or p > _WHOLE:
        return np.rint(_resized(square.astype(np.float64), size, cv2.INTER_AREA)).astype(np.uint8)
    shares = _shares(side, size)
    rows = _mixed(square.reshape(side, -1).astype(np.uint16), shares).reshape(size, side, 3)
    sums = _mixed(cv2.transpose(rows).reshape(side, -1), shares)
    levels = (sums + p * p // 2) // (p * p)
    return np.asarray(cv2.transpose(levels.astype(np.uint8).reshape(size, size, 3)), np.uint8)


@dataclass(frozen=True, eq=False)
class _Share:
    """What one row contributes to each row of the result: index [size] of the row, weight uint16 [size, 1]."""

    index: NDArray[np.intp]
    weight: NDArray[np.uint16]


@lru_cache
def _shares(side: int, size: int) -> list[_Share]:
    """The rows that lie in each row of the result, in order; weights in 1 / q of a row, p in all."""
    divisor = gcd(side, size)
    p, q = side // divisor, size // divisor
    result = np.arange(size)[:, None]
    rows = result * p // q + np.arange(p // q + 2)
    overlap = np.minimum((result + 1) * p, (rows + 1) * q) - np.maximum(result * p, rows * q)
    weights = np.maximum(overlap, 0).astype(np.uint16)
    return [_Share(np.minimum(row, side - 1), weight[:, None])
            for row, weight in zip(rows.T, weights.T, strict=True) if weight.any()]


def _mixed(rows: NDArray[np.uint16], shares: list[_Share]) -> NDArray[np.uint16]:
    """uint16 [size, n] of [side, n]: sums of weighted rows."""
    mixed = np.zeros((len(shares[0].index), rows.shape[1]), np.uint16)
    for share in shares:
        part = rows.take(share.index, axis=0)
        part *= share.weight
        mixed += part
    return mixed


def _resized(square: NDArray[Any], size: int, way: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(square, (size, size), interpolation=way))
