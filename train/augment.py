"""Random variations that leave the diagnosis alone: orientation, magnification, stain, focus, noise, JPEG, scale bar.

NumPy and OpenCV on uint8 tiles, so that it runs beside any Keras backend. Colour is the shortcut of this data set (a
colour histogram alone reaches 98 % on a random split), hence the wide stain and saturation ranges.
"""

from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.preprocess import nucleus_weight

Tile = NDArray[np.uint8]
Random = np.random.Generator

CORNER_SHARE = 0.5  # of the tiles
WARP_SHARE = 0.7
STAIN_GAIN = (0.75, 1.35)  # per-channel factor on optical density
BACKGROUND_SHIFT = ((-0.1, 0.1), (-0.1, 0.15), (-0.1, 0.5))  # optical density of the empty field: lamps turn yellow
SATURATION = (0.3, 1.4)  # 0 would be grey
ZOOM = (0.8, 1.3)
SHEAR = 0.08
BLUR_SIGMA = (0.3, 1.8)  # px at model size
JPEG_QUALITY = (20, 90)
NOISE_SIGMA = (1.0, 7.0)  # 8-bit levels
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
_QUARTER_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0)


def augment(tile: Tile, random: Random, strength: float = 1.0) -> Tile:
    """A varied copy of a tile; left as it is itself.

    Args:
        tile: uint8 [S, S, 3] RGB, or [S, S, 4] with the nucleus weight, which goes where the pixels go.
        random: the stream to draw from.
        strength: 0-1, scales how many tiles get each change but the turning, which costs nothing to learn. A small
            network that starts from nothing cannot learn all of them in a minute. 0 changes nothing at all.
    """
    if not strength:
        return tile
    if random.random() < CORNER_SHARE * strength:
        tile = _paint_over_corner(tile, random)
    tile = _turn(tile, random)
    if random.random() < WARP_SHARE * strength:
        tile = _warp(tile, random)
    rgb, rest = np.ascontiguousarray(tile[..., :3]), tile[..., 3:]
    for share, change in _CHANGES:
        if random.random() < share * strength:
            rgb = change(rgb, random)
    return np.dstack([rgb, nucleus_weight(_inside(rest[..., 0]))]) if rest.size else rgb


def _inside(weight: Tile) -> Tile:
    """The mask [S, S] that a turned and warped weight still tells of: interpolation has softened its edges."""
    return np.asarray(weight > weight.max() // 2, np.uint8)


def _paint_over_corner(tile: Tile, random: Random) -> Tile:
    """Cover the lower right corner, where cameras burn in a scale bar whose style differs by class."""
    tile = tile.copy()
    side = tile.shape[0]
    height, width = int(side * random.uniform(0.08, 0.2)), int(side * random.uniform(0.25, 0.5))
    tile[-height:, -width:] = np.append(np.median(tile[::8, ::8, :3].reshape(-1, 3), axis=0),
                                       np.zeros(tile.shape[2] - 3))  # no nucleus is left there
    return tile


def _turn(tile: Tile, random: Random) -> Tile:
    way = _QUARTER_TURNS[int(random.integers(4))]
    turned = tile if way is None else cv2.rotate(tile, way)
    return np.asarray(cv2.flip(turned, 1) if random.random() < 0.5 else turned, np.uint8)


def _warp(tile: Tile, random: Random) -> Tile:
    side = tile.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-45, 45), random.uniform(*ZOOM))
    matrix[:, :2] @= np.eye(2) + random.uniform(-SHEAR, SHEAR, (2, 2))
    return np.asarray(cv2.warpAffine(tile, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _restain(tile: Tile, random: Random) -> Tile:
    """Scale and shift optical density per channel (another stain, another lamp), then mix towards grey."""
    gain = random.uniform(*STAIN_GAIN, 3)
    shift = random.uniform(*np.transpose(BACKGROUND_SHIFT))
    levels = 256.0 * np.exp(-(_DENSITY[:, None] * gain + shift)) - 1.0
    stained = cv2.LUT(tile, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])
    keep = random.uniform(*SATURATION)
    return np.asarray(cv2.transform(stained, keep * np.eye(3) + (1 - keep) * np.tile(_LUMA, (3, 1))), np.uint8)


def _blur(tile: Tile, random: Random) -> Tile:
    return np.asarray(cv2.GaussianBlur(tile, (0, 0), random.uniform(*BLUR_SIGMA)), np.uint8)


def _add_noise(tile: Tile, random: Random) -> Tile:
    """Gaussian, by looking random bytes up among 256 quantiles: a twelfth of the cost of drawing normal deviates."""
    levels = np.rint(_QUANTILES * random.uniform(*NOISE_SIGMA)).astype(np.float32)
    noise = cv2.LUT(random.integers(0, 256, tile.shape, np.uint8), levels)
    return np.asarray(cv2.add(tile, noise, dtype=cv2.CV_8U), np.uint8)


def _compress(tile: Tile, random: Random) -> Tile:
    quality = int(random.integers(*JPEG_QUALITY))
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", tile, (cv2.IMWRITE_JPEG_QUALITY, quality))[1],
                                   cv2.IMREAD_COLOR), np.uint8)


_CHANGES = ((0.9, _restain), (0.3, _blur), (0.3, _add_noise), (0.2, _compress))
