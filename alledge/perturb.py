"""What goes wrong between a slide and a file: known disturbances of a field, each in levels from mild to severe.

Applied to the whole field before `prepare()`, so that the mask, the quality gate and the network all meet them. Own
numbers on purpose, apart from the training's augmentation: a sweep that repeats it would only test memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.uint8]
Random = np.random.Generator

YELLOW = (1.0, 0.93, 0.62)  # RGB factors of the yellow field that arXiv 2508.17216 reports as its failing case
REFERENCE_SIDE = 224  # px; lengths are given for a field of this side and grow with it
COVER_HEIGHT, COVER_WIDTH = 0.12, 0.40  # of the side: where cameras burn in a scale bar
BACKGROUND_SHARE = 0.30  # brightest share of a field, by green: bare glass
STAINED_SHARE = 0.10  # darkest share, by green: nuclei
STAIN_GAIN = (0.33, 3.0)  # a field without cells must not become black
_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0)
_GAMMA = 2.2  # close enough to sRGB for "half the light"


@dataclass(frozen=True)
class Perturbation:
    """One kind of disturbance.

    Attributes:
        name: as in the JSON; title: as in a heading; unit: what a level counts.
        levels: from mild to severe.
        change: (field uint8 [H, W, 3] RGB, level, field of another class, random stream) -> changed copy.
    """

    name: str
    title: str
    unit: str
    levels: tuple[float, ...]
    change: Callable[[Field, float, Field, Random], Field]


def yellow_cast(field: Field, level: float, _: Field, __: Random) -> Field:
    """Level 1 multiplies RGB by `YELLOW`; other levels go that share of the way."""
    return _levels(field, np.arange(256)[:, None] * (1.0 - level * (1.0 - np.array(YELLOW))))


def blur(field: Field, level: float, _: Field, __: Random) -> Field:
    """Gaussian blur; level is sigma in px of a 224 px field."""
    sigma = level * min(field.shape[:2]) / REFERENCE_SIDE
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.uint8)


def exposure(field: Field, level: float, _: Field, __: Random) -> Field:
    """Level is in stops: +1 doubles the light, and clips it where it was bright."""
    return _levels(field, np.repeat(np.arange(256)[:, None] * 2.0 ** (level / _GAMMA), 3, axis=1))


def noise(field: Field, level: float, _: Field, random: Random) -> Field:
    """Independent Gaussian noise per pixel and channel; level is its sigma in 8-bit levels."""
    grain = random.standard_normal(field.shape, np.float32) * np.float32(level)
    return np.clip(np.rint(field + grain), 0, 255).astype(np.uint8)


def jpeg(field: Field, level: float, _: Field, __: Random) -> Field:
    """Compress once and decode; level is the quality, 100 to 1."""
    packed = cv2.imencode(".jpg", cv2.cvtColor(field, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(level)])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def cover_scale_bar(field: Field, _: float, __: Field, ___: Random) -> Field:
    """Paint the lower right corner over with the field's own background."""
    covered = field.copy()
    height, width = field.shape[:2]
    covered[-round(COVER_HEIGHT * height):, -round(COVER_WIDTH * width):] = _level_of(_anchors(field)[0])
    return covered


def stain_transfer(field: Field, level: float, donor: Field, _: Random) -> Field:
    """Give a field the stain and the lamp of another one: a straight line per channel in optical density.

    Level 1 takes bare glass and nuclei to where the donor has them, other levels go that share of the way. Shapes,
    density of cells and texture stay: whoever changes the verdict has read the stain. In the spirit of Reinhard et al.
    (IEEE CGA 2001), which matches means and deviations of the whole picture; two anchors do not depend on how many
    cells are in it.
    """
    glass, nuclei = _anchors(field)
    donor_glass, donor_nuclei = _anchors(donor)
    gain = np.clip((donor_nuclei - donor_glass) / np.maximum(nuclei - glass, 1e-3), *STAIN_GAIN)
    wanted = donor_glass + (_DENSITY[:, None] - glass) * gain
    return _levels(field, _level_of((1 - level) * _DENSITY[:, None] + level * wanted))


PERTURBATIONS = (
    Perturbation("yellow_cast", "Yellow cast", "of the paper's cast", (0.5, 1.0, 1.3), yellow_cast),
    Perturbation("stain_transfer", "Another image's stain", "of the way", (0.5, 1.0), stain_transfer),
    Perturbation("exposure", "Exposure", "stops", (-1.0, -0.5, 0.25, 0.5), exposure),
    Perturbation("blur", "Blur", "px sigma", (0.5, 1.0, 2.0, 3.0), blur),
    Perturbation("noise", "Noise", "levels sigma", (4.0, 8.0, 16.0), noise),
    Perturbation("jpeg", "JPEG compression", "quality", (70.0, 40.0, 20.0, 10.0), jpeg),
    Perturbation("scale_bar", "Scale bar painted over", "covered", (1.0,), cover_scale_bar),
)


def _anchors(field: Field) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Optical density [3] of bare glass and of nuclei: means of the brightest and of the darkest share by green."""
    green = np.asarray(cv2.extractChannel(field, 1))
    reached = np.cumsum(cv2.calcHist([green], [0], None, [256], [0, 256]).ravel())
    dark, bright = np.searchsorted(reached, np.array([STAINED_SHARE, 1 - BACKGROUND_SHARE]) * reached[-1])
    density = _DENSITY[field]
    return density[green >= bright].mean(0), density[green <= dark].mean(0)


def _level_of(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Optical density to 8-bit levels, rounded and clipped."""
    return np.clip(np.rint(256.0 * np.exp(-density) - 1.0), 0, 255)


def _levels(field: Field, curves: NDArray[np.float64]) -> Field:
    """Send every level of every channel through [256, 3] curves."""
    return np.asarray(cv2.LUT(field, np.clip(np.rint(curves), 0, 255).astype(np.uint8)[None]), np.uint8)
