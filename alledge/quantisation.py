"""Between real numbers and the integers of a quantised model, as the manifest's `TensorSpec` says.

Conversion judges and devices run with this one arithmetic, so what the parity gate proves holds on a board.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from alledge.manifest import TensorSpec
from alledge.preprocess import Prepared, Preprocessing, levels_of, look_up

Real = NDArray[np.float32]


def stored_input(prepared: Prepared, spec: TensorSpec) -> NDArray[np.generic]:
    """A field in the type that the model's input has, [size, size, channels]: what `to_stored` makes of its tensor.

    A pixel has 256 levels, so integers are looked up; six passes over real numbers cost several times as much.
    """
    if spec.dtype == "float32":
        return prepared.tensor
    return look_up(prepared.tile, _stored_levels(prepared.preprocessing, spec.dtype, spec.scale, spec.zero_point))


def to_stored(tensor: NDArray[np.generic], spec: TensorSpec) -> NDArray[np.generic]:
    """float32 tensor to the model's own type and shape; integers of that type are stored ones already."""
    if spec.dtype not in ("float32", tensor.dtype.name):
        tensor = _quantised(tensor, spec.dtype, spec.scale, spec.zero_point)
    return tensor.reshape(spec.shape)


def to_real(stored: NDArray[np.generic], spec: TensorSpec) -> Real:
    """The model's output as flat float32."""
    values = stored.reshape(-1).astype(np.float32)
    return values if spec.dtype == "float32" else (values - np.float32(spec.zero_point)) * np.float32(spec.scale)


@lru_cache
def _stored_levels(preprocessing: Preprocessing, dtype: str, scale: float, zero_point: int) -> NDArray[np.generic]:
    return _quantised(levels_of(preprocessing), dtype, scale, zero_point)


def _quantised(values: NDArray[np.generic], dtype: str, scale: float, zero_point: int) -> NDArray[np.generic]:
    """Same shape; rounded and clipped, never wrapped."""
    limits = np.iinfo(dtype)
    levels = values * np.float32(1 / scale)
    levels += np.float32(zero_point)
    np.rint(levels, out=levels)
    np.clip(levels, limits.min, limits.max, out=levels)
    return np.asarray(levels.astype(dtype))
