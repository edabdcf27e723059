"""Pixels to tensor: the one road that training, conversion and every board share (OpenCV only)."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from alledge.segmentation import Mask, Mode, check_pixels, segment


class Preprocessing(BaseModel):
    """How a model wants its input. It travels in the bundle, never in a device's configuration.

    Attributes:
        size: side of the square model input in pixels.
        segment: what the model sees outside the nuclei: everything (`none`) or black (`paper`, `stain`).
        scale, offset: tensor = pixel * scale + offset, per RGB channel, pixel 0-255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(224, ge=32, le=1024)
    segment: Mode = "none"
    scale: tuple[float, float, float] = (1 / 127.5,) * 3
    offset: tuple[float, float, float] = (-1.0,) * 3


@dataclass(frozen=True)
class Prepared:
    """A field on its way into a model: tensor float32 [size, size, 3], the tile it was made of, its mask."""

    tensor: NDArray[np.float32]
    tile: NDArray[np.uint8]
    mask: Mask


def prepare(rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Crop, resize, mask and scale uint8 [H, W, 3] RGB into float32 [size, size, 3].

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
    return Prepared(scale(shown, preprocessing), shown, mask)


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
    if side == size:
        return square
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=way))


def keep_inside(rgb: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """Black outside the mask (paper 6.1.7)."""
    return np.asarray(cv2.copyTo(rgb, mask.pixels, np.zeros_like(rgb)), np.uint8)


def scale(tile: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """uint8 [..., H, W, 3] to the float32 tensor the model was trained on, same shape."""
    rows = tile.reshape(-1, *tile.shape[-2:])
    return np.asarray(cv2.LUT(rows, _levels(preprocessing.scale, preprocessing.offset)), np.float32).reshape(tile.shape)


@lru_cache
def _levels(factor: tuple[float, ...], offset: tuple[float, ...]) -> NDArray[np.float32]:
    """[1, 256, channels]: what each level becomes. Looking it up costs a fifth of computing it for every pixel."""
    scaled = np.multiply(np.arange(256)[:, None], np.array(factor, np.float32), dtype=np.float32)
    return np.add(scaled, np.array(offset, np.float32))[None]


def tensor_digest(tensor: NDArray[np.float32]) -> str:
    """SHA-256 of the tensor's little-endian bytes: goldens compare it exactly."""
    return hashlib.sha256(np.ascontiguousarray(tensor, "<f4").tobytes()).hexdigest()
