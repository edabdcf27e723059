"""Random variations that leave the diagnosis alone: orientation, magnification, stain, focus, noise, scale bar.

NumPy and OpenCV on uint8 tiles, so that it runs beside any Keras backend. Colour is the shortcut of this data set (a
colour histogram alone reaches 98 % on a random split), hence the wide stain and saturation ranges.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Tile = NDArray[np.uint8]
Random = np.random.Generator

CORNER_SHARE = 0.5  # of the tiles
STAIN_GAIN = (0.75, 1.35)  # per-channel factor on optical density
BACKGROUND_SHIFT = 0.10  # largest change of optical density of the empty field, per channel
SATURATION = (0.3, 1.4)  # 0 would be grey
ZOOM = (0.8, 1.3)
SHEAR = 0.08
BLUR_SIGMA = (0.3, 1.4)  # px at model size
NOISE_SIGMA = (1.0, 7.0)  # 8-bit levels
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0)


def augment(tile: Tile, random: Random, strength: float = 1.0) -> Tile:
    """A varied copy of uint8 [S, S, 3].

    Args:
        tile: left as it is.
        random: the stream to draw from.
        strength: 0-1, scales how many tiles get each change but the turning, which costs nothing to learn. A small
            network that starts from nothing cannot learn all of them in a minute. 0 changes nothing at all.
    """
    if not strength:
        return tile
    if random.random() < CORNER_SHARE * strength:
        tile = _paint_over_corner(tile, random)
    tile = _turn(tile, random)
    for share, change in _CHANGES:
        if random.random() < share * strength:
            tile = change(tile, random)
    return tile


def _paint_over_corner(tile: Tile, random: Random) -> Tile:
    """Cover the lower right corner, where cameras burn in a scale bar whose style differs by class."""
    tile = tile.copy()
    side = tile.shape[0]
    height, width = int(side * random.uniform(0.08, 0.2)), int(side * random.uniform(0.25, 0.5))
    tile[-height:, -width:] = np.median(tile[::8, ::8].reshape(-1, 3), axis=0)
    return tile


def _turn(tile: Tile, random: Random) -> Tile:
    turned = np.rot90(tile, int(random.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if random.random() < 0.5 else turned)


def _warp(tile: Tile, random: Random) -> Tile:
    side = tile.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-45, 45), random.uniform(*ZOOM))
    matrix[:, :2] @= np.eye(2) + random.uniform(-SHEAR, SHEAR, (2, 2))
    return np.asarray(cv2.warpAffine(tile, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _restain(tile: Tile, random: Random) -> Tile:
    """Scale and shift optical density per channel (another stain, another lamp), then mix towards grey."""
    gain = random.uniform(*STAIN_GAIN, 3)
    shift = random.uniform(-BACKGROUND_SHIFT, BACKGROUND_SHIFT, 3)
    levels = 256.0 * np.exp(-(_DENSITY[:, None] * gain + shift)) - 1.0
    stained = cv2.LUT(tile, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])
    keep = random.uniform(*SATURATION)
    return np.asarray(cv2.transform(stained, keep * np.eye(3) + (1 - keep) * np.tile(_LUMA, (3, 1))), np.uint8)


def _blur(tile: Tile, random: Random) -> Tile:
    return np.asarray(cv2.GaussianBlur(tile, (0, 0), random.uniform(*BLUR_SIGMA)), np.uint8)


def _add_noise(tile: Tile, random: Random) -> Tile:
    noise = random.standard_normal(tile.shape, np.float32) * np.float32(random.uniform(*NOISE_SIGMA))
    return np.clip(tile + noise, 0, 255).astype(np.uint8)


_CHANGES = ((0.7, _warp), (0.9, _restain), (0.3, _blur), (0.3, _add_noise))
