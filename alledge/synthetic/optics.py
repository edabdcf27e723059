"""From absorbing layers to a camera picture: lamp, lens, sensor."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import Plane, grain
from .slide import Slide

LEVELS = 4096
LOG2_10 = float(np.log2(10.0))


def _srgb_table() -> NDArray[np.float32]:
    """Encoding to sRGB (IEC 61966-2-1) of linear light 0..1 in LEVELS steps, as 8-bit values with fraction."""
    linear = np.arange(LEVELS, dtype=np.float64) / (LEVELS - 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * encoded).astype(np.float32)


SRGB = _srgb_table()


def photograph(layers: Plane, slide: Slide, focus: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """float32 [4, H, W] layers -> uint8 [H, W, 3] RGB. `focus` is the blur of the lens, sigma in pixels."""
    size = layers.shape[1]
    density = np.tensordot(layers, np.array(slide.densities, np.float32), axes=(0, 0))
    light = np.exp2(-LOG2_10 * density) * np.array(slide.cast, np.float32)
    light *= (slide.exposure * _lamp(rng, size))[..., None]
    if focus > 0:
        light = cv2.GaussianBlur(light, (0, 0), focus)
    return _sensor(light, slide.noise, rng)


def _lamp(rng: np.random.Generator, size: int) -> Plane:
    """Slow unevenness of the illumination, 1 on average: float32 [size, size]."""
    return 1 + 0.025 * grain(rng, (size, size), size / 2)


def _sensor(light: Plane, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Clip, encode as sRGB, add noise that is a little stronger in the bright parts."""
    steps = np.clip(light * (LEVELS - 1), 0, LEVELS - 1).astype(np.uint16)
    grey = SRGB[steps]
    grey += rng.standard_normal(grey.shape, np.float32) * np.float32(noise) * (0.5 + grey / 510)
    rgb: NDArray[np.uint8] = np.clip(grey + 0.5, 0, 255).astype(np.uint8)
    return rgb
