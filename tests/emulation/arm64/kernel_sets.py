"""One bundle under LiteRT's optimised kernels and under TFLite's reference kernels, on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.calibration import Calibration, apply_temperature
from alledge.convert.tflite_run import BUILTIN, REFERENCE, XNNPACK, kernels
from alledge.images import decode_image, read_image
from alledge.manifest import Manifest
from alledge.preprocess import prepare


@dataclass(frozen=True)
class Kernels:
    """A set of kernels against XNNPACK's: the goldens of a bundle, and n other fields.

    Attributes:
        goldens_apart: largest difference of a probability on the goldens; tolerance: the bundle's, which is for them.
        fields: n; equal: of them, with equal probabilities; apart: largest difference of one.
        contradictions: of them, for which both sets are sure enough for a verdict and name different classes.
    """

    name: str
    goldens_apart: float
    tolerance: float
    fields: int
    equal: int
    apart: float
    contradictions: int

    @property
    def holds(self) -> bool:
        """Goldens within the tolerance (NaN is not), and no other verdict on any field."""
        return bool(self.fields and self.goldens_apart <= self.tolerance and not self.contradictions)


def against_reference(path: Path, fields: Sequence[Path]) -> list[Kernels]:
    """XNNPACK's answers (what boards run by default) against each other set's; empty for what is no TFLite model."""
    bundle = Bundle.open(path)
    if bundle.manifest.engine not in ("tflite", "coral"):
        return []
    images = [decode_image(bundle.read(golden.image), golden.image) for golden in bundle.manifest.goldens]
    tensors = [prepare(rgb, bundle.manifest.preprocessing) for rgb in (*images, *map(read_image, fields))]
    runs = kernels(bundle.cpu_model, bundle.head, (XNNPACK, BUILTIN, REFERENCE))
    optimised = runs.pop(XNNPACK)(tensors).probs
    return [measure(name, optimised, run(tensors).probs, len(images), bundle.manifest) for name, run in runs.items()]


def measure(name: str, optimised: NDArray[np.float32], other: NDArray[np.float32], goldens: int,
            manifest: Manifest) -> Kernels:
    """Compare probabilities float32 [goldens + n, 4] of two sets of kernels."""
    apart = np.abs(optimised - other)
    sure, also = (_verdicts(side[goldens:], manifest.calibration) for side in (optimised, other))
    return Kernels(name, float(apart[:goldens].max(initial=0.0)), manifest.tolerance, len(apart) - goldens,
                   int((apart[goldens:] == 0).all(1).sum()), float(apart[goldens:].max(initial=0.0)),
                   int(((sure != also) & (sure >= 0) & (also >= 0)).sum()))


def _verdicts(probabilities: NDArray[np.float32], calibration: Calibration) -> NDArray[np.int64]:
    """[n] class of each row, -1 where it is not sure enough. The domain gate would refuse most drawn fields as well."""
    calibrated = apply_temperature(probabilities, calibration.temperature)
    return np.where(calibrated.max(1) >= calibration.abstain_below, calibrated.argmax(1), -1)
