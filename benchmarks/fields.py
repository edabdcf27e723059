"""The drawn frames that a segmentation and its steps are measured on: the same for both."""

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.labels import LABELS
from alledge.synthetic import draw_field

DRAWN = 640  # largest side that fields are drawn at; larger ones are enlarged
MANY, MANY_UP_TO = 3, 500_000  # frames of at most so many pixels; beyond, one, which no cache holds


def frames(size: str) -> list[NDArray[np.uint8]]:
    """Fields of WIDTHxHEIGHT, uint8 [H, W, 3] RGB."""
    return [drawn(size, seed) for seed in range(MANY if pixels(size) <= MANY_UP_TO else 1)]


def drawn(size: str, seed: int) -> NDArray[np.uint8]:
    """A field of WIDTHxHEIGHT; enlarged beyond what is drawn."""
    width, height = map(int, size.split("x"))
    longer = max(width, height)
    rgb = draw_field(LABELS[seed % 4], 900 + seed, min(longer, DRAWN)).rgb
    if longer > DRAWN:
        rgb = np.asarray(cv2.resize(rgb, (longer, longer), interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.ascontiguousarray(rgb[:height, :width])


def pixels(size: str) -> int:
    width, height = map(int, size.split("x"))
    return width * height
