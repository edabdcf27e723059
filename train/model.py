"""Backbone + head: the network that is trained."""

import keras

from . import heads
from .backbones import feature_maps, find


def build_model(backbone: str, weights: str, head: str = "compact", size: int | None = None) -> keras.Model:
    """image float32 [n, size, size, 3 or 4] -> {"probs": [n, 4], "embedding": [n, d]}; d is the head's.

    Args:
        backbone: a row of the table in `backbones`.
        weights: see `backbones.feature_maps`.
        head: `nuclei`, `compact`, `mhsa` or `plain`, see `heads`.
        size: side of the image in pixels; default the row's.

    Raises:
        UsageError, DataError: as `backbones.feature_maps`.
    """
    row = find(backbone)
    side = size or row.size
    if head == heads.NUCLEI:
        image = keras.Input((side, side, 4), name="image")
        maps = feature_maps(backbone, image[..., :3], weights, tapped=True)
        outputs = heads.nuclei(maps, image[..., 3:], row.dropout)
    else:
        image = keras.Input((side, side, 3), name="image")
        outputs = heads.HEADS[head](feature_maps(backbone, image, weights)[0], row.dropout)
    return keras.Model(image, outputs, name=f"{backbone}_{head}")
