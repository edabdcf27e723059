"""What faults of a camera do to a picture. Pure: (this picture, the one taken before) -> the damaged one."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_GREY = 128  # what OpenCV fills the lost part of a JPEG with
_GAINS = np.array([1.5, 1.0, 0.6], np.float32)  # white balance let loose: red and blue gains of another lamp
_NOISE = 60.0  # grey levels, standard deviation
_SEED = 20


def _black(rgb: Pixels, before: Pixels) -> Pixels:
    return np.zeros_like(rgb)


def _saturated(rgb: Pixels, before: Pixels) -> Pixels:
    return np.full_like(rgb, 255)


def _wrong_size(rgb: Pixels, before: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[:rgb.shape[0] // 2, :rgb.shape[1] // 2])


def _wrong_format(rgb: Pixels, before: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[..., 0])


def _colourless(rgb: Pixels, before: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _cut_short(rgb: Pixels, before: Pixels) -> Pixels:
    cut = rgb.copy()
    cut[rgb.shape[0] * 2 // 3:] = _GREY
    return cut


def _torn(rgb: Pixels, before: Pixels) -> Pixels:
    torn = rgb.copy()
    below = slice(rgb.shape[0] // 2, None)
    torn[below] = (before if before.shape == rgb.shape else np.roll(rgb, rgb.shape[1] // 3, axis=1))[below]
    return torn


def _noisy(rgb: Pixels, before: Pixels) -> Pixels:
    noise = np.random.default_rng(_SEED + int(rgb[0, 0, 0])).normal(0, _NOISE, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def _colour_drift(rgb: Pixels, before: Pixels) -> Pixels:
    return np.clip(rgb * _GAINS, 0, 255).astype(np.uint8)


# in the order in which several are done to one picture: what changes its shape comes last
DAMAGE: dict[str, Callable[[Pixels, Pixels], Pixels]] = {
    "black": _black,
    "saturated": _saturated,
    "torn": _torn,
    "colour-drift": _colour_drift,
    "noisy": _noisy,
    "colourless": _colourless,
    "cut-short": _cut_short,
    "wrong-size": _wrong_size,
    "wrong-format": _wrong_format,
}
