"""One bundle under LiteRT's optimised kernels and under TFLite's reference kernels, on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.convert.tflite_run import BUILTIN, REFERENCE, XNNPACK, kernels
from alledge.images import read_image
from alledge.preprocess import prepare


@dataclass(frozen=True)
class Kernels:
    """A set of kernels against XNNPACK's on n fields: how many probability vectors are equal, how far the rest is."""

    name: str
    fields: int
    equal: int
    apart: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Within the bundle's tolerance; NaN is not."""
        return bool(self.fields and self.apart <= self.tolerance)


def against_reference(path: Path, fields: Sequence[Path]) -> list[Kernels]:
    """XNNPACK's answers (what boards run by default) against each other set's; empty for what is no TFLite model."""
    bundle = Bundle.open(path)
    if bundle.manifest.engine not in ("tflite", "coral"):
        return []
    tensors = [prepare(read_image(field), bundle.manifest.preprocessing) for field in fields]
    runs = kernels(bundle.cpu_model, bundle.head, (XNNPACK, BUILTIN, REFERENCE))
    optimised = runs.pop(XNNPACK)(tensors).probs
    return [measure(name, optimised, run(tensors).probs, bundle.manifest.tolerance) for name, run in runs.items()]


def measure(name: str, optimised: NDArray[np.float32], other: NDArray[np.float32], tolerance: float) -> Kernels:
    """Compare probabilities float32 [n, 4] of two sets of kernels."""
    apart = np.abs(optimised - other)
    return Kernels(name, len(apart), int((apart == 0).all(1).sum()), float(apart.max(initial=0.0)), tolerance)
