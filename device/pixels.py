"""What a frame's pixels say about the camera that sent it. Pure: no thread, no clock.

These are faults of the machine, so the limits are wide: a field that is only dark, pale or out of focus is the quality
gate's to judge. `benchmarks/cameras.py` measures what they notice and what they mistake; its page is
docs/results/cameras.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.glass import cumulative, glass_colour, quantile
from alledge.planes import split

DARK = 16  # grey level, black in limited-range video
BRIGHT = 250  # grey level from which on a pixel counts as burnt out
SHARE = 0.98  # of the pixels, for a picture that is "all" black, white or grey; sound pictures: up to 0.42
CUT = 0.02  # share of the rows that end the picture in one colour; sound pictures: none
TEAR = 0.25  # share of a row's pixels that jump where their neighbours do not; sound pictures: up to 0.16
NOISE = 12.0  # grey levels, standard deviation; sound pictures: up to 3.0
DRIFT = 0.20  # relative change of the background's red or blue against green; sound pictures: up to 0.10
_COLUMNS = 96  # pixels of each row that are looked at; all rows are
_EVERY = 4  # rows apart, where a part of them tells as much: noise, colour
_STEP = 6  # grey levels; a smaller step from row to row is noise or JPEG blocks
_JUMP = 2.5  # times the steps before and after it
_GLASS = 0.05  # brightest share of a frame: light alone
_REFERENCE = 5  # accepted frames whose median is what later colours are compared with


@dataclass(frozen=True)
class Figures:
    """A frame in numbers.

    Attributes:
        size: height and width in pixels.
        dark, bright, colourless, lost: shares of black, of burnt-out and of exactly grey pixels, and of the rows at the
            bottom that are one colour each; 0-1.
        tear: largest share of a row's pixels that differ abruptly from the row above, 0-1.
        noise: standard deviation in grey levels.
        colour: red and blue of the brightest twentieth, relative to green.
        sample: the pixels that were looked at, uint8 [H, at most 96, 3].
    """

    size: tuple[int, int]
    dark: float
    bright: float
    colourless: float
    lost: float
    tear: float
    noise: float
    colour: tuple[float, float]
    sample: NDArray[np.uint8] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Seen:
    """What a camera has shown so far: size and colours of its first accepted frames, pixels of its last frame."""

    size: tuple[int, int] | None = None
    colours: tuple[tuple[float, float], ...] = ()
    sample: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    def after(self, figures: Figures, accepted: bool) -> "Seen":
        """The same after one more frame."""
        if not accepted:
            return replace(self, sample=figures.sample)
        colours = self.colours if len(self.colours) == _REFERENCE else (*self.colours, figures.colour)
        return Seen(self.size or figures.size, colours, figures.sample)


def is_picture(rgb: NDArray[np.generic]) -> bool:
    """Whether this is uint8 [H, W, 3] with rows enough to look at."""
    return rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and min(rgb.shape[:2]) >= 8


def measure(rgb: NDArray[np.uint8]) -> Figures:
    """Figures of uint8 [H, W, 3] RGB, on all rows and every so many columns of the middle square, which is judged."""
    height, width = rgb.shape[:2]
    outside = max(width - height, 0) // 2
    size = min(_COLUMNS, width - 2 * outside), height
    sample = np.asarray(cv2.resize(rgb[:, outside:width - outside], size, interpolation=cv2.INTER_NEAREST), np.uint8)
    planes = red, green, blue = split(sample)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return Figures(
        size=rgb.shape[:2],
        dark=_share(most, DARK, cv2.CMP_LE),
        bright=_share(least, BRIGHT, cv2.CMP_GE),
        colourless=_share(most, least, cv2.CMP_EQ),
        lost=_lost(sample),
        tear=_tear(planes),
        noise=_noise(np.asarray(green, np.uint8)),
        colour=_background(sample[::_EVERY]),
        sample=sample,
    )


def fault_of(figures: Figures, seen: Seen) -> str | None:
    """Name of the camera fault that a frame of these figures shows, the plainest first; None for a sound one."""
    found = {
        "camera-wrong-size": seen.size not in (None, figures.size),
        "camera-black": figures.dark >= SHARE,
        "camera-saturated": figures.bright >= SHARE,
        "camera-colourless": figures.colourless >= SHARE,
        "camera-cut-short": figures.lost >= CUT,
        "camera-frozen": seen.sample is not None and np.array_equal(figures.sample, seen.sample),
        "camera-torn": figures.tear >= TEAR,
        "camera-noisy": figures.noise >= NOISE,
        "camera-colour-drift": _drifted(figures.colour, seen.colours),
    }
    return next((name for name, on in found.items() if on), None)


def _share(levels: cv2.typing.MatLike, limit: cv2.typing.MatLike | int, way: int) -> float:
    return cv2.countNonZero(cv2.compare(levels, limit, way)) / levels.size


def _lost(sample: NDArray[np.uint8]) -> float:
    """Share of rows at the bottom that are one colour each, burnt-out ones apart.

    A border that the picture has at the top as well (a field stop) is no loss.
    """
    if not _plain(sample[-1:])[0]:
        return 0.0  # nearly always, and at once
    plain = _plain(sample)
    return 0.0 if plain[0] else float(np.argmin(plain[::-1])) / len(plain)


def _plain(rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (rows == rows[:, :1]).all((1, 2)) & (rows[:, 0].min(1) < BRIGHT)


def _tear(planes: Sequence[cv2.typing.MatLike]) -> float:
    """The optics blur every true edge over several rows; between two pictures put together there is none to blur."""
    red, green, blue = (cv2.absdiff(plane[1:], plane[:-1]) for plane in planes)
    steps = cv2.max(cv2.max(red, green), blue)
    around = cv2.max(cv2.max(steps[:-2], steps[2:]), _STEP)
    jumps = cv2.compare(steps[1:-1], cv2.convertScaleAbs(around, alpha=_JUMP), cv2.CMP_GT)
    return float(cv2.reduce(jumps, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F).max()) / 255


def _noise(green: NDArray[np.uint8]) -> float:
    """From the median second difference of rows, which edges hardly move; sqrt(6) is its gain for white noise."""
    above, middle, below = (green[row:len(green) - 2 + row:_EVERY] for row in range(3))
    around = cv2.add(above, below, dtype=cv2.CV_16S)
    bends = cv2.convertScaleAbs(cv2.subtract(around, cv2.add(middle, middle, dtype=cv2.CV_16S)))
    return 1.4826 * quantile(cumulative(np.asarray(bends, np.uint8)), 0.5) / 6**0.5


def _background(sample: NDArray[np.uint8]) -> tuple[float, float]:
    """Colour of the light where least is in its way: it stays the same from slide to slide, the stain does not."""
    red, level, blue = (glass_colour(sample, _GLASS) + 1).tolist()  # one level: black has a colour of no consequence
    return red / level, blue / level


def _drifted(colour: tuple[float, float], reference: tuple[tuple[float, float], ...]) -> bool:
    if len(reference) < _REFERENCE:
        return False
    usual = map(median, zip(*reference, strict=True))  # NumPy's takes ten times as long for so few
    return any(abs(now / before - 1) >= DRIFT for now, before in zip(colour, usual, strict=True))
