"""Pixels to tensor: the one road that training, conversion and every board share (OpenCV only)."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from alledge.segmentation import Mask, Mode, check_pixels, segment
from alledge.shrink import shrink

NUCLEI_SHARE = 0.02  # of the pixels: sparse fields have about that much nucleus
_WEIGHT_SCALE, _WEIGHT_OFFSET = 1 / 127.5, -1.0  # the range that most networks' images have, which int8 shares


class Preprocessing(BaseModel):
    """How a model wants its input. It travels in the bundle, never in a device's configuration.

    Attributes:
        size: side of the square model input in pixels.
        segment: what the model sees outside the nuclei: everything (`none`) or black (`paper`, `stain`).
        scale, offset: tensor = pixel * scale + offset, per RGB channel, pixel 0-255.
        nuclei: whether a fourth channel tells the model where the nuclei are, see `nucleus_weight`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(224, ge=32, le=1024)
    segment: Mode = "none"
    scale: tuple[float, float, float] = (1 / 127.5,) * 3
    offset: tuple[float, float, float] = (-1.0,) * 3
    nuclei: bool = False

    @property
    def channels(self) -> int:
        """Channels of the tile and of the tensor: 3, or 4 with the nucleus weight."""
        return 4 if self.nuclei else 3


@dataclass(frozen=True)
class Prepared:
    """A field on its way into a model.

    Attributes:
        tile: uint8 [size, size, channels]; the first three channels are RGB.
        mask: where the nuclei are.
        preprocessing: what it was made with.
    """

    tile: NDArray[np.uint8]
    mask: Mask
    preprocessing: Preprocessing

    @cached_property
    def tensor(self) -> NDArray[np.float32]:
        """The model's input in real numbers, float32 [size, size, channels]."""
        return scale(self.tile, self.preprocessing)


def prepare(rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Crop, resize, mask and scale uint8 [H, W, 3] RGB into float32 [size, size, channels].

    Raises:
        UsageError: when the pixels are not uint8 [H, W, 3].
    """
    return prepare_field(rgb, preprocessing).tensor


def prepare_field(rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Prepared:
    """Like `prepare`, keeping the tile and the mask for the screen, the log and the quality gate.

    The nuclei are looked for in every mode, because coverage is part of every result; only what the model sees
    depends on the mode. In mode `none` that is the whole tile and the `stain` mask goes along beside it.
    """
    tile = resize(rgb, preprocessing.size)
    mask = segment(tile, "stain" if preprocessing.segment == "none" else preprocessing.segment)
    shown = tile if preprocessing.segment == "none" else keep_inside(tile, mask)
    tile = _beside(shown, nucleus_weight(mask.pixels)) if preprocessing.nuclei else shown
    return Prepared(tile, mask, preprocessing)


def nucleus_weight(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How much each pixel counts when a model averages over nuclei: uint8 [H, W] of a mask uint8 [H, W] (0 or more).

    The weights of a field add up to the same sum whatever share of it nuclei cover, so that a model which averages with
    them can tell what nuclei look like and not how many there are: crowding is a shortcut that fails on the next
    slide. (Fields with nuclei on less than `NUCLEI_SHARE` of the pixels have less of a sum; 1 in 100 of the listed
    Taleghani images has.)
    """
    share = cv2.countNonZero(mask) / mask.size
    level = round(255 * min(1.0, NUCLEI_SHARE / share)) if share else 0
    return np.asarray(cv2.threshold(mask, 0, level, cv2.THRESH_BINARY)[1], np.uint8)


def _beside(rgb: NDArray[np.uint8], fourth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 4] of [H, W, 3] and [H, W]; `cv2.merge` takes twice as long."""
    return np.asarray(cv2.insertChannel(fourth, cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), 3), np.uint8)


def resize(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The largest centred square of [H, W, 3], area-averaged down (or interpolated up) to [size, size, 3].

    A square is cut, not squeezed: nuclear shape is part of the diagnosis.

    Raises:
        UsageError: when the pixels are not uint8 [H, W, 3].
    """
    check_pixels(rgb)
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = rgb[top:top + side, left:left + side]
    if side > size:
        return shrink(square, size)
    if side == size:
        return square
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)


def keep_inside(rgb: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """Black outside the mask (paper 6.1.7)."""
    return np.asarray(cv2.copyTo(rgb, mask.pixels, np.zeros_like(rgb)), np.uint8)


def scale(tile: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """uint8 [..., H, W, channels] to the float32 tensor the model was trained on, same shape."""
    return np.asarray(look_up(tile, levels_of(preprocessing)), np.float32)


def look_up(tile: NDArray[np.uint8], levels: NDArray[np.generic]) -> NDArray[np.generic]:
    """What tables of 256 numbers, [1, 256] or [1, 256, channels], say of uint8 [..., H, W, channels]; same shape."""
    rows = tile.reshape(-1, *tile.shape[-2:])
    if levels.ndim == 2:
        rows = rows.reshape(len(rows), -1)
    return np.asarray(cv2.LUT(rows, levels)).reshape(tile.shape)


@lru_cache
def levels_of(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """What each level of a tile becomes: float32 [1, 256, channels], or [1, 256] where the channels do not differ.

    Looking it up costs a fifth of computing it for every pixel, and a tenth in one table for all.
    """
    told = preprocessing.nuclei
    factor = np.array((*preprocessing.scale, *((_WEIGHT_SCALE,) if told else ())), np.float32)
    offset = np.array((*preprocessing.offset, *((_WEIGHT_OFFSET,) if told else ())), np.float32)
    levels = np.add(np.multiply(np.arange(256)[:, None], factor, dtype=np.float32), offset)[None]
    return levels[..., 0].copy() if (levels == levels[..., :1]).all() else levels


def tensor_digest(tensor: NDArray[np.float32]) -> str:
    """SHA-256 of the tensor's little-endian bytes: goldens compare it exactly."""
    return hashlib.sha256(np.ascontiguousarray(tensor, "<f4").tobytes()).hexdigest()
