"""Is this picture good enough to be judged at all? Cheap figures on the model's tile, and a sentence for each fault.

The limits lie outside clean fields and, where light clips, below the level from which verdicts go wrong. Blur, darkness
and cast cost answers before they cost right ones: there the sentence is worth more than the refusal, because it says
what to do. Measured on the listed Taleghani images and drawn fields: docs/results/quality.md.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.calibration import DomainGate
from alledge.glass import cumulative, mean_colour, quantile
from alledge.planes import split

FOCUS_MIN = 0.28  # fine over coarse detail; 99 of 100 clean fields have more
LEVEL_MIN = 140.0  # grey level 0-255; clean fields measured 151 to 245
SATURATED_MAX = 0.35  # share of pixels at grey level 255; clean fields stayed below 0.28
BLACK_MAX = 0.10  # share of pixels; clean fields stayed below 0.003
GLASS_MIN = 0.35  # share of bare glass; 996 of 1000 clean fields have more, and 119 of 120 of two other laboratories
CAST_MAX = 1.5  # stops between the channels of the glass; clean fields stayed below 0.25
STAIN_MAX = 2.8  # standard deviations of blue contrast above training fields; 98.8 % of clean fields have less
GLASS_SHARE = 0.30  # brightest share of a field, by green
_BARE, _BRIGHTEST = 0.85, 0.99  # glass is nearly as bright as the brightest: share of that, and which quantile it is
_WHITE, _BLACK = 255, 5  # grey levels from which on a pixel counts as burnt out, or as black
_LEAST = 1e-6


def measure(tile: NDArray[np.uint8]) -> dict[str, float]:
    """Quality figures of uint8 [S, S, 3] RGB before masking.

    Returns:
        focus: variance of the Laplacian of the grey tile made half as large, over that of a quarter: whatever is in the
            field, blur takes the finer detail first.
        level: mean grey level, 0-255.
        saturated, black: shares of pixels at grey level 255 and of black ones, 0-1.
        glass: share of the picture that is bare glass, 0-1, by green; there is little where cells lie over each other.
        cast: stops between the strongest and the weakest channel of bare glass, the brightest part of the field.
    """
    grey = np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), np.uint8)
    planes = split(tile)
    green = planes[1]
    greys, greens = cumulative(grey), cumulative(green)
    bare = cv2.compare(green, int(np.ceil(_BARE * quantile(greens, _BRIGHTEST))), cv2.CMP_GE)
    glass = mean_colour(planes, quantile(greens, 1 - GLASS_SHARE)) + 1.0
    half = _halved(grey)
    return {
        "focus": _detail(half) / max(_detail(_halved(half)), _LEAST),
        "level": float(cv2.mean(grey)[0]),
        "saturated": float(1 - greys[_WHITE - 1] / grey.size),
        "black": float(greys[_BLACK] / grey.size),
        "glass": cv2.countNonZero(bare) / green.size,
        "cast": float(np.log2(glass.max() / glass.min())),
    }


def stained(probs: NDArray[np.floating[Any]], stain: NDArray[np.float64], gate: DomainGate | None) -> dict[str, float]:
    """The one figure that needs the model's answer [4]: how dark the stain is for the class that it names.

    Returns:
        stain: standard deviations, see `DomainGate.darkness`; nothing without a gate that knows all classes.
    """
    if gate is None or len(gate.means) != probs.size:
        return {}
    return {"stain": gate.darkness(stain, int(probs.argmax()))}


def complaints(quality: Mapping[str, float]) -> tuple[str, ...]:
    """What is wrong with a picture of these figures, one sentence each; empty when it can be judged."""
    found = []
    if quality["black"] > BLACK_MAX:
        found.append(f"partly black: {quality['black']:.0%} of the picture; clear the light path, centre the condenser")
    elif quality["level"] < LEVEL_MIN:
        found.append(f"too dark: level {quality['level']:.0f} of at least {LEVEL_MIN:.0f}; turn the lamp up or expose "
                     "longer")
    if quality["saturated"] > SATURATED_MAX:
        found.append(f"overexposed: {quality['saturated']:.0%} of the picture is burnt out; turn the lamp down or "
                     "expose shorter")
    if quality["glass"] < GLASS_MIN and quality["black"] <= BLACK_MAX:
        found.append(f"crowded or too thick: {quality['glass']:.0%} of the picture is bare glass, at least "
                     f"{GLASS_MIN:.0%} are needed; move to where cells lie side by side")
    if quality["cast"] > CAST_MAX:
        found.append(f"colour cast: empty glass is off by {quality['cast']:.1f} stops; set the white balance on an "
                     "empty part of the slide")
    if quality["focus"] < FOCUS_MIN:
        found.append(f"out of focus: sharpness {quality['focus']:.2f} of at least {FOCUS_MIN:.2f}; turn the fine focus")
    if quality.get("stain", 0.0) > STAIN_MAX:
        found.append(f"stained too darkly: {quality['stain']:.1f} standard deviations above the smears this model "
                     f"learned from, at most {STAIN_MAX:.1f}; use another slide, stain for less time")
    return tuple(found)


def _halved(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half as high and wide, by averages of four."""
    return np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def _detail(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian, smoothed a little, or noise would pass for detail."""
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_16S)
    return float(cv2.meanStdDev(edges)[1][0, 0] ** 2)
