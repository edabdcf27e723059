"""Backbone + head: the network that is trained."""

import keras

from . import heads
from .backbones import feature_map, find


def build_model(backbone: str, weights: str, head: str = "compact", size: int | None = None) -> keras.Model:
    """image float32 [n, size, size, 3] -> {"probs": [n, 4], "embedding": [n, d]}; d is the head's.

    Args:
        backbone: a row of the table in `backbones`.
        weights: see `backbones.feature_map`.
        head: `compact`, `mhsa` or `plain`, see `heads`.
        size: side of the image in pixels; default the row's.

    Raises:
        UsageError, DataError: as `backbones.feature_map`.
    """
    row = find(backbone)
    side = size or row.size
    image = keras.Input((side, side, 3), name="image")
    outputs = heads.HEADS[head](feature_map(backbone, image, weights), row.dropout)
    return keras.Model(image, outputs, name=f"{backbone}_{head}")
