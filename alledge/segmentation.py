"""Find the nuclei in a smear: one integer cut on a colour channel, then morphology. No seed, no iteration.

`paper` is arXiv 2508.17216, 6.1.2-6.1.7: k-means with k = 7 on the a* channel of CIELAB, a threshold on the rebuilt
image, fill, open, close. Clusters of one channel are intervals and a threshold on their level is monotone, so the two
steps are exactly one cut `a* >= t`, found on the histogram. The paper leaves the threshold T open: here it is Otsu's
threshold of the seven levels, or `top=N` keeps the N reddest clusters.

`stain` balances white on the smear's own background first and cuts the saturation instead (k = 3, top cluster): a
yellow cast, the paper's failing case, then moves the mask hardly at all (docs/results/segmentation.md).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.errors import UsageError
from alledge.glass import bright_sums, cumulative, mean_of, quantile
from alledge.kmeans1d import Clusters, cluster_histogram
from alledge.morphology import fill_holes, open_close
from alledge.planes import bands, split

Mode = Literal["none", "paper", "stain"]
MODES: tuple[str, ...] = get_args(Mode)

PAPER_CLUSTERS = 7
STAIN_CLUSTERS = 3
BACKGROUND_SHARE = 0.30  # brightest share of the field, by green, that is taken for bare background
NEUTRAL = 230.0  # 8-bit sRGB level the background is balanced to
MIN_CONTRAST = 12  # levels between the lowest and the highest cluster centre; a bare field stays below
MIN_COVERAGE = 0.002  # about one small lymphocyte nucleus in a field of the Taleghani data
_COUNTED_IN_PAIRS = 2**20  # pixels; from so many on
MAX_COVERAGE = 0.80  # beyond that the cut has fallen into the background


@dataclass(frozen=True)
class Mask:
    """Where the nuclei are.

    Attributes:
        pixels: uint8 [H, W], 255 inside, 0 outside.
        coverage: share of the field inside, 0-1.
        cut: the smallest channel level that counts as inside (0 in mode `none`, 256 when nothing does).
        warnings: why the mask is not to be relied on, one sentence each.
    """

    pixels: NDArray[np.uint8]
    coverage: float
    cut: int
    warnings: tuple[str, ...] = ()


def segment(rgb: NDArray[np.uint8], mode: str = "stain", *, top: int | None = None) -> Mask:
    """Segment uint8 [H, W, 3] RGB.

    Args:
        rgb: the field; any size from 2x2 pixels.
        mode: `paper`, `stain`, or `none` for a mask that keeps everything.
        top: keep this many of the uppermost clusters instead of the mode's own rule.

    Raises:
        UsageError: for an unknown mode, a `top` without sense or pixels that are not uint8 [H, W, 3].
    """
    if mode not in MODES:
        raise UsageError(f"segmentation mode {mode!r} is unknown: expected one of {', '.join(MODES)}")
    if top is not None and not 1 <= top <= PAPER_CLUSTERS:
        raise UsageError(f"top={top} is out of range: expected 1 to {PAPER_CLUSTERS} clusters to keep")
    check_pixels(rgb)
    if mode == "none":
        return Mask(np.full(rgb.shape[:2], 255, np.uint8), 1.0, 0)
    channel = _CHANNELS[mode](rgb)
    histogram = count_levels(channel)
    clusters = cluster_histogram(histogram, PAPER_CLUSTERS if mode == "paper" else STAIN_CLUSTERS)
    spread = clusters.centres[-1] - clusters.centres[0]
    if spread < MIN_CONTRAST:
        reason = f"no stained cell stands out: channel contrast {spread:.0f} of at least {MIN_CONTRAST} levels"
        return Mask(np.zeros(rgb.shape[:2], np.uint8), 0.0, 256, (reason,))
    return _cut_mask(channel, find_cut(histogram, clusters, mode, top))


def check_pixels(rgb: NDArray[np.uint8]) -> None:
    """Refuse what is not a colour frame: a 16-bit or float one would silently become another picture.

    Raises:
        UsageError: when the pixels are not uint8 [H, W, 3] of at least 2x2.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < 2:
        raise UsageError(f"expected uint8 [H, W, 3] RGB pixels, received {rgb.dtype} {list(rgb.shape)}")


def find_cut(histogram: NDArray[np.generic], clusters: Clusters, mode: str, top: int | None = None) -> int:
    """The level from which on a pixel is inside, given the clusters of its channel's histogram [256]."""
    if top is None and mode == "paper":
        return _otsu_of_levels(histogram, clusters)
    return int(clusters.lowest[max(len(clusters.lowest) - (top or 1), 0)])


def clean(binary: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill, open and close a 0/255 mask (paper 6.1.5-6.1.6)."""
    return open_close(fill_holes(binary))


def lab_a(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The a* channel of 8-bit CIELAB, [H, W]: green low, red-violet high (paper 6.1.2)."""
    channel = np.empty(rgb.shape[:2], np.uint8)
    for band, into in zip(bands(rgb), bands(channel), strict=True):
        split(cv2.cvtColor(band, cv2.COLOR_RGB2LAB), [np.empty_like(into), into, np.empty_like(into)])
    return channel


def count_levels(channel: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Histogram [256] of uint8 [H, W].

    A large one is counted in pairs of pixels, each a number of 16 bits: half as many steps, and of neighbours that are
    alike none has to wait for the other's count. That has 65,536 counts to add up, too many for a tile.
    """
    if channel.size < _COUNTED_IN_PAIRS:
        return cv2.calcHist([channel], [0], None, [256], [0, 256]).ravel()
    flat = channel.reshape(1, -1)
    pairs = flat[:, :channel.size // 2 * 2].view(np.uint16)
    counts = cv2.calcHist([pairs], [0], None, [2**16], [0, 2**16]).reshape(256, 256)
    found = counts.sum(0, dtype=np.float64) + counts.sum(1, dtype=np.float64)
    if channel.size % 2:
        found[flat[0, -1]] += 1
    return found


def balanced_saturation(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """HSV saturation [H, W] after the background has been made neutral."""
    first, *others = bands(rgb)
    kept = split(first)

    def parts() -> Iterator[Sequence[NDArray[np.uint8]]]:
        yield kept
        yield from map(split, others)  # anew each time: planes of a whole large frame would not stay in the cache

    least = quantile(reduce(np.add, (cumulative(green) for _, green, _ in parts())), 1 - BACKGROUND_SHARE)
    curves = _white_curves(mean_of(reduce(np.add, (bright_sums(part, least) for part in parts()))))
    channel = np.empty(rgb.shape[:2], np.uint8)
    for part, into in zip(parts(), bands(channel), strict=True):
        red, green, blue = (curve.of(plane) for curve, plane in zip(curves, part, strict=True))
        saturation(red, green, blue, into)
    return channel


def saturation(red: cv2.typing.MatLike, green: cv2.typing.MatLike, blue: cv2.typing.MatLike,
               into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """HSV saturation of uint8 planes [H, W]: OpenCV's to the byte, in half the time."""
    most, least = cv2.max(red, green), cv2.min(red, green)
    cv2.max(most, blue, most)
    cv2.min(least, blue, least)
    cv2.subtract(most, least, least)
    return np.asarray(cv2.multiply(least, cv2.LUT(most, _PER_LEVEL), into, dtype=cv2.CV_8U), np.uint8)


@dataclass(frozen=True)
class _Curve:
    """What becomes of a channel's levels: `table` uint8 [256], which from the level `straight` on is a line."""

    table: NDArray[np.uint8]
    slope: float
    straight: int

    def of(self, plane: NDArray[np.uint8]) -> cv2.typing.MatLike:
        """A line takes a third of the time of a table, and most fields have no pixel too dark for it."""
        if plane.min() < self.straight:
            return cv2.LUT(plane, self.table)
        return cv2.convertScaleAbs(plane, alpha=self.slope, beta=_FOOT * (self.slope - 1))


def _white_curves(background: NDArray[np.float64]) -> list[_Curve]:
    """Each channel scaled in linear light so that the mean background [3] becomes a neutral 230.

    What a power function makes of gain * light is gain to that power times what it makes of light. So there and back,
    sRGB's curve is a line, but for its darkest levels before or after. Those within `_DOUBT` of a half count among
    them, for single precision may round them another way.
    """
    gain = np.array([[_WHITE / _linear(max(level, 1.0))] for level in background.tolist()])
    slope = gain ** (1 / 2.4)
    dark = _DARK * gain
    level = _ROOT * slope
    level -= _FOOT
    bent = dark <= 255 * 12.92 * 0.0031308
    np.copyto(level, dark, where=bent)
    np.minimum(level, 255.0, out=level)
    table = np.rint(level)
    bent |= np.abs(level - table) > 0.5 - _DOUBT
    bent[:, :_FIRST_BRIGHT] = True
    straight = 256 - bent[:, ::-1].argmax(1)
    return [*map(_Curve, table.astype(np.uint8), slope.ravel().tolist(), straight.tolist())]


def _linear(level: float) -> float:
    """sRGB level 0-255 to linear light 0-1 (IEC 61966-2-1)."""
    x = level / 255
    return x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4


def _otsu_of_levels(histogram: NDArray[np.generic], clusters: Clusters) -> int:
    """Lowest value above Otsu's threshold of the image rebuilt from the (8-bit) cluster centres (eq. 5).

    Plain numbers: for seven levels they are faster than arrays.
    """
    masses = np.add.reduceat(histogram, clusters.lowest).tolist()
    levels = [int(c) for c in clusters.centres.tolist()]  # 6.1.3 converts to uint8, which truncates
    mass, moment = sum(masses), sum(m * v for m, v in zip(masses, levels, strict=True))
    best, cluster, below, below_moment = -1.0, 1, 0.0, 0.0
    for i in range(len(levels) - 1):
        below += masses[i]
        below_moment += masses[i] * levels[i]
        between = (moment * below - below_moment * mass) ** 2 / (below * (mass - below))
        if between > best:
            best, cluster = between, i + 1
    return int(clusters.lowest[cluster])


def _cut_mask(channel: NDArray[np.uint8], cut: int) -> Mask:
    pixels = open_close(fill_holes(channel, cut), channel)  # which nobody reads again
    coverage = cv2.countNonZero(pixels) / pixels.size
    if coverage > MAX_COVERAGE:
        reason = f"the mask fell into the background: it covered {coverage:.0%} of the field"
        return Mask(np.zeros_like(pixels), 0.0, cut, (reason,))
    if coverage < MIN_COVERAGE:
        return Mask(pixels, coverage, cut, (f"hardly any nucleus: {coverage:.2%} of the field",))
    return Mask(pixels, coverage, cut)


def _saturation_per_level() -> NDArray[np.float32]:
    """[256]: what a level between the channels adds to the saturation, by the strongest channel.

    As OpenCV has it, in 1 / 4096; a little more, so that a half is rounded up as there.
    """
    exact = np.rint(255 * 4096 / np.arange(1, 256)) / 4096
    return np.concatenate([[0.0], exact * (1 + 4e-7)]).astype(np.float32)


_LIGHT = np.array([_linear(level) for level in range(256)])
_FOOT = 255 * 0.055
_DARK, _ROOT = 255 * 12.92 * _LIGHT, 255 * 1.055 * _LIGHT ** (1 / 2.4)  # sRGB's two pieces, back from linear light
_FIRST_BRIGHT = 11  # level beyond sRGB's darkest, 0.04045
_DOUBT = 5e-5  # levels: more than single precision loses on them
_WHITE = _linear(NEUTRAL)
_PER_LEVEL = _saturation_per_level()
_CHANNELS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "paper": lab_a,
    "stain": balanced_saturation,
}
