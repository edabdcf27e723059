"""The layers of a smear before light goes through it, and shapes to draw into them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Point = NDArray[np.float64]
"""x, y in pixels: float64 [2]."""
Patch = tuple[slice, slice]

SUBPIXEL = 4
"""Fractional bits of polygon corners: cv2 draws to 1/16 pixel."""
ANGLES = np.linspace(0.0, 2 * np.pi, 64, endpoint=False)


class Canvas:
    """Amounts of absorbing matter per pixel, float32 [size, size] each, 1 = a typical cell."""

    def __init__(self, size: int, pixels_per_um: float) -> None:
        self.size = size
        self.scale = pixels_per_um
        self.layers = np.zeros((4, size, size), np.float32)
        self.nucleus, self.cytoplasm, self.red, self.plasma = self.layers
        self.truth = np.zeros((size, size), np.uint8)

    def patch(self, centre: Point, radius: float) -> Patch:
        """The square around a shape (pixels), cut at the frame; may be empty."""
        low = np.clip(np.floor(centre - radius - 2), 0, self.size).astype(int)
        high = np.clip(np.ceil(centre + radius + 2), 0, self.size).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])


def outline(rng: np.random.Generator, radius: float, waviness: float, elongation: float = 0.0) -> NDArray[np.float64]:
    """Radius at each of ANGLES (pixels) of a closed, wavy, slightly oval shape: float64 [64]."""
    waves = np.zeros_like(ANGLES)
    for order, phase in zip((2, 3, 4), rng.uniform(0, 2 * np.pi, 3), strict=True):
        waves += waviness * np.cos(order * ANGLES + phase) / (order - 1)
    oval = elongation * np.cos(2 * (ANGLES - rng.uniform(0, np.pi)))
    radii: NDArray[np.float64] = radius * (1 + waves + oval)
    return radii


def coverage(radii: NDArray[np.float64], centre: Point, patch: Patch) -> Plane:
    """Share of each pixel of the patch inside the outline: float32 [h, w], 0 to 1."""
    rows, columns = patch
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    x = centre[0] - columns.start + radii * np.cos(ANGLES)
    y = centre[1] - rows.start + radii * np.sin(ANGLES)
    corners = np.round(np.stack([x, y], 1) * (1 << SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, SUBPIXEL)
    share: Plane = mask.astype(np.float32) / np.float32(255)
    return share


def grain(rng: np.random.Generator, shape: tuple[int, int], pitch: float) -> Plane:
    """Random texture with blobs about `pitch` pixels wide: float32 [h, w], mean 0, deviation about 1."""
    pitch = max(pitch, 1.0)
    height, width = (int(np.ceil(side / pitch)) + 2 for side in shape)
    coarse = rng.standard_normal((height, width), np.float32)
    wide: Plane = cv2.resize(coarse, None, fx=pitch, fy=pitch, interpolation=cv2.INTER_CUBIC)
    return wide[: shape[0], : shape[1]]
