"""Between real numbers and the integers of a quantised model, as the manifest's `TensorSpec` says.

Conversion judges and devices run with this one arithmetic, so what the parity gate proves holds on a board.
"""

import numpy as np
from numpy.typing import NDArray

from alledge.manifest import TensorSpec

Real = NDArray[np.float32]


def to_stored(tensor: Real, spec: TensorSpec) -> NDArray[np.generic]:
    """float32 tensor to the model's own type and shape; integers are rounded and clipped, never wrapped."""
    if spec.dtype == "float32":
        return tensor.reshape(spec.shape)
    limits = np.iinfo(spec.dtype)
    levels = tensor * np.float32(1 / spec.scale)
    levels += np.float32(spec.zero_point)
    np.rint(levels, out=levels)
    np.clip(levels, limits.min, limits.max, out=levels)
    stored: NDArray[np.generic] = levels.astype(spec.dtype)
    return stored.reshape(spec.shape)


def to_real(stored: NDArray[np.generic], spec: TensorSpec) -> Real:
    """The model's output as flat float32."""
    values = stored.reshape(-1).astype(np.float32)
    return values if spec.dtype == "float32" else (values - np.float32(spec.zero_point)) * np.float32(spec.scale)
