"""Averaging over areas, against whole numbers that round nothing before the end."""

from math import gcd

import numpy as np
import pytest

from alledge.shrink import shrink


@pytest.mark.parametrize(("side", "size"), [
    (30, 28), (60, 56), (45, 42), (70, 56), (21, 14), (27, 16), (65, 40), (90, 28), (75, 28), (39, 18)])
def test_every_pixel_is_the_nearest_level_to_the_mean_of_its_area(side: int, size: int) -> None:
    factor = max(k for k in range(1, side // size + 1) if side % k == 0)
    square = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert np.array_equal(shrink(square, size), mean_of_areas(mean_of_areas(square, side // factor), size))


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
@pytest.mark.parametrize(("side", "size"), [(240, 224), (720, 224), (960, 224), (1080, 224)])
def test_a_plain_picture_stays_what_it_is(side: int, size: int, level: int) -> None:
    square = np.full((side, side, 3), level, np.uint8)
    assert np.array_equal(shrink(square, size), np.full((size, size, 3), level, np.uint8))


def mean_of_areas(square: np.ndarray, size: int) -> np.ndarray:
    side = square.shape[0]
    p, q = side // gcd(side, size), size // gcd(side, size)
    fine = square.astype(np.int64).repeat(q, axis=0).repeat(q, axis=1)
    sums = fine.reshape(size, p, size, p, 3).sum((1, 3))
    return (2 * sums + p * p) // (2 * p * p)
