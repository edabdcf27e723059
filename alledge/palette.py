"""Colours in six numbers a tile: for the domain gate, and for drawn smears that wear a training set's colours.

Mean and log standard deviation of optical density, per RGB channel (density is where stains add; Ruifrok & Johnston
2001. Matching mean and deviation: Reinhard et al. 2001). A palette is their Gaussian, per class; with it drawn smears
can go where the images themselves may not.
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from alledge.planes import split

FIGURES = 6
_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0)  # of an 8-bit level; 256 would be no glass at all
GLASS_SHARE = 0.30  # brightest share of a field, by green: bare glass in all but the most crowded fields
_STEP = 4  # every fourth row and column tells as much of a tile's colours
_LEAST_DEVIATION = 1e-3  # of a tile of one colour


class Palette(BaseModel):
    """Attributes: mean [classes, 6] and covariance [classes, 6, 6] of `tile_figures` over the training tiles."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: list[list[float]] = Field(min_length=1, max_length=16)
    covariance: list[list[list[float]]] = Field(min_length=1, max_length=16)


def fit_palette(pixels: NDArray[np.uint8], truth: NDArray[np.integer[Any]]) -> Palette:
    """The palette of uint8 [n, S, S, 3 or more] tiles, RGB first, with classes [n]."""
    figures = np.stack([colour_figures(tile) for tile in pixels])
    classes = [figures[truth == c] for c in range(int(truth.max()) + 1)]
    classes = [rows if len(rows) else figures for rows in classes]
    return Palette(mean=[rows.mean(0).tolist() for rows in classes],
                   covariance=[np.cov(rows.T, bias=True).tolist() for rows in classes])


def tile_figures(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[6] mean and log deviation of density per channel of uint8 [S, S, 3], of what a mask has not made black."""
    return _moments(_DENSITY[_shown_pixels(tile)])


def colour_figures(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`tile_figures` of uint8 [S, S, 3 or more], RGB first, taken on every fourth row and column."""
    return tile_figures(tile[::_STEP, ::_STEP, :3])


def stain_figures(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[6] `colour_figures` of uint8 [S, S, 3 or more] with its bare glass for white: what the stain does, not the lamp.

    A lamp that has turned yellow and a white balance multiply a channel, which adds one density to all of it (Beer and
    Lambert); with the density of glass taken off, that cancels.
    """
    planes = split(np.ascontiguousarray(tile[::_STEP, ::_STEP, :3]))
    shown = cv2.compare(cv2.max(cv2.max(*planes[:2]), planes[2]), 0, cv2.CMP_GT)
    if not cv2.countNonZero(shown):
        shown = cv2.bitwise_not(shown)
    counts = _counts(planes, shown)
    reached = counts[1].cumsum()
    brightest = math.ceil((reached[-1] - 1) * (1 - GLASS_SHARE))  # in order of green
    glass = cv2.compare(planes[1], int(reached.searchsorted(brightest, "right")), cv2.CMP_GE)
    mean = _mean_density(counts)
    deviation = np.sqrt((counts * np.square(_DENSITY - mean[:, None])).sum(1) / reached[-1])
    bare = _mean_density(_counts(planes, cv2.bitwise_and(glass, shown)))
    return np.concatenate([mean - bare, np.log(np.maximum(deviation, _LEAST_DEVIATION))])


def recolour(tile: NDArray[np.uint8], label: int, palette: Palette, random: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 [S, S, 3 or more] with its RGB in colours drawn at random from those of a class; black stays black."""
    wanted = random.multivariate_normal(palette.mean[label], palette.covariance[label])
    rgb = tile[..., :3]
    shown, figures = _shown(rgb), tile_figures(rgb)
    gain = np.exp(wanted[3:] - figures[3:])
    density = (_DENSITY[rgb[shown]] - figures[:3]) * gain + wanted[:3]
    coloured = tile.copy()
    coloured[..., :3][shown] = np.clip(np.rint(256.0 * np.exp(-density) - 1.0), 0, 255).astype(np.uint8)
    return coloured


def _moments(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """[6] mean and log standard deviation of the columns of [n, 3]; `std` would find the mean once more."""
    mean = _mean(density)
    deviation = np.sqrt(_mean(np.square(density - mean)))
    return np.concatenate([mean, np.log(np.maximum(deviation, _LEAST_DEVIATION))])


def _counts(planes: Sequence[cv2.typing.MatLike], among: cv2.typing.MatLike) -> NDArray[np.float64]:
    """[3, 256]: how many pixels of each plane have each level, where `among` [H, W] is not 0."""
    return np.array([cv2.calcHist([plane], [0], among, [256], [0, 256]).ravel() for plane in planes], np.float64)


def _mean_density(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] mean density of what was counted."""
    return np.asarray(counts @ _DENSITY / counts[0].sum())


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] mean of [n, 3], in a third of the time of `mean`: rows are short."""
    return np.asarray(np.einsum("ij->j", rows) / len(rows))


def _shown_pixels(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[n, 3] pixels of [H, W, 3] that `_shown` keeps."""
    shown = _shown(tile)
    return tile.reshape(-1, 3) if shown.all() else tile[shown]


def _shown(tile: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[S, S], True outside pure black; everything when all is black."""
    shown = (tile[..., 0] | tile[..., 1] | tile[..., 2]) > 0  # `any` along so short an axis takes five times as long
    return shown if shown.any() else ~shown
