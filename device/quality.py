"""Is this picture good enough to be judged at all? Cheap figures on the model's tile, and a sentence for each fault.

The limits are wide on purpose. They were set on every eighth of the 2,799 listed Taleghani images and 60 synthetic
fields; of all 2,799, and of 300 other synthetic fields, they refuse none. What they do refuse is a defocused, dark,
burnt-out or covered field.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 1.0  # px sigma; sensor noise alone would otherwise pass for sharp detail
FOCUS_MIN = 3.0  # clean fields measured 4.0 to 76, the same fields blurred by 4 px at most 2.9
LEVEL_MIN = 100.0  # grey level 0-255; clean fields measured 162 to 244
SATURATED_MAX = 0.75  # share of pixels; a bright clean background reached 0.62 of them
BLACK_MAX = 0.30  # share of pixels; clean fields stayed below 0.003
_WHITE, _BLACK = 250, 5  # grey levels from which on a pixel counts as burnt out, or as black


def measure(tile: NDArray[np.uint8]) -> dict[str, float]:
    """Quality figures of uint8 [S, S, 3] RGB before masking.

    Returns:
        focus: variance of the Laplacian of the smoothed grey tile (grey levels squared).
        level: mean grey level, 0-255.
        saturated, black: shares of burnt-out and of black pixels, 0-1.
    """
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), SMOOTHING), cv2.CV_32F)
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    return {
        "focus": float(cv2.meanStdDev(edges)[1][0, 0] ** 2),
        "level": float(cv2.mean(grey)[0]),
        "saturated": float(histogram[_WHITE:].sum() / grey.size),
        "black": float(histogram[:_BLACK + 1].sum() / grey.size),
    }


def complaints(quality: Mapping[str, float]) -> tuple[str, ...]:
    """What is wrong with a picture of these figures, one sentence each; empty when it can be judged."""
    found = []
    if quality["black"] > BLACK_MAX:
        found.append(f"{quality['black']:.0%} of the picture is black: is something in the light path?")
    elif quality["level"] < LEVEL_MIN:
        found.append(f"too dark: mean level {quality['level']:.0f} of at least {LEVEL_MIN:.0f}; add light or exposure")
    if quality["saturated"] > SATURATED_MAX:
        found.append(f"overexposed: {quality['saturated']:.0%} of the picture is burnt out; reduce light or exposure")
    if quality["focus"] < FOCUS_MIN:
        found.append(f"out of focus: sharpness {quality['focus']:.1f} of at least {FOCUS_MIN:.1f}; refocus")
    return tuple(found)
