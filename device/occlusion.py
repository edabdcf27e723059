"""What a verdict hangs on, asked from outside: parts of a field are covered with bare glass, and the model asked again.

Occlusion sensitivity (Zeiler and Fergus, ECCV 2014, section 4.2). It needs no gradients, which no converted model has,
and so works with every engine. It says what happens to the probability, not why: a covered field is unlike any smear,
and parts that matter together do not show when they are covered one at a time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.config import BundleSettings
from alledge.errors import DataError
from alledge.glass import glass_colour
from alledge.preprocess import resize
from alledge.verdict import Verdict

from .admission import open_bundle
from .engine import Engine, open_engine
from .pipeline import Pipeline

GRID = 7  # squares a side; a lymphoblast of the data trained on is about as large as one
SAME = 0.02  # how far a probability may be from the stored one: cameras store more pixels than were judged
_GLASS = 0.3  # share of the field's pixels, the brightest, whose mean colour is the glass


@dataclass(frozen=True)
class Occlusion:
    """What covering does to a class.

    Attributes:
        label: the class.
        probability: of the whole field, calibrated, 0-1.
        change: float64 [GRID, GRID], -1 to 1: probability with that square of the middle square covered, less that of
            the whole field. Below 0 the square spoke for the class.
    """

    label: str
    probability: float
    change: NDArray[np.float64]


class Occluder:
    """A bundle on an engine, asked again about fields that it has judged. To be closed.

    Raises:
        BundleRefused: as `Pipeline`.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._pipeline = Pipeline(bundle, engine)

    @property
    def bundle_id(self) -> str:
        """Of the one that is asked."""
        return self._pipeline.bundle.id

    def __call__(self, row: Verdict, rgb: NDArray[np.uint8]) -> Occlusion:
        """Cover one square after the other of uint8 [H, W, 3] RGB; of the class that the stored result has likeliest.

        Raises:
            DataError: when another bundle judged it, the model gave no probabilities, or does not give them again.
            EngineError: when the engine fails.
        """
        if row.bundle_id != self.bundle_id:
            raise DataError(f"No heat map: bundle {row.bundle_id} judged this field, {self.bundle_id} was asked.")
        if not row.probabilities:
            raise DataError("No heat map: the model gave this field no probabilities.")
        label, stored = max(row.probabilities.items(), key=lambda pair: pair[1])
        tile = resize(rgb, self._pipeline.bundle.manifest.preprocessing.size)
        found = self._probability(tile, label)
        if not abs(found - stored) <= SAME:
            raise DataError(f"No heat map: asked again, the model gives {found:.1%} where {stored:.1%} is stored.")
        glass = np.rint(glass_colour(tile, _GLASS)).astype(np.uint8)
        return Occlusion(label, found, self._changes(tile, label, glass) - found)

    def close(self) -> None:
        """Let go of the engine."""
        self._pipeline.engine.close()

    def _changes(self, tile: NDArray[np.uint8], label: str, glass: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[GRID, GRID] probabilities with one square covered."""
        edges = np.linspace(0, len(tile), GRID + 1).round().astype(int)
        found = np.empty((GRID, GRID))
        for row, column in np.ndindex(found.shape):
            covered = tile.copy()
            covered[edges[row]:edges[row + 1], edges[column]:edges[column + 1]] = glass
            found[row, column] = self._probability(covered, label)
        return found

    def _probability(self, tile: NDArray[np.uint8], label: str) -> float:
        return self._pipeline(tile).probabilities.get(label, float("nan"))


def open_occluder(path: Path, settings: BundleSettings) -> Occluder:
    """Load a bundle that this device accepts, on the engine it was made for.

    Raises:
        UsageError, BundleRefused, BackendMissing: as `open_bundle` and `open_engine`.
    """
    bundle = open_bundle(path, settings)
    return Occluder(bundle, open_engine(bundle))
