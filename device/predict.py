"""A bundle's answers to fields, for `alledge evaluate`: exactly as a device would give them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.config import load_config
from alledge.labels import LABELS

from .admission import open_bundle
from .engine import open_engine
from .pipeline import Pipeline


class BundleJudge:
    """A bundle on an engine, as a `Judge`.

    Raises:
        AlledgeError: when the bundle, its engine or a field is refused.
    """

    def __init__(self, path: Path, engine: str | None = None) -> None:
        bundle = open_bundle(path, load_config().bundle)
        self._engine = open_engine(bundle, engine)
        self._pipeline = Pipeline(bundle, self._engine)
        self.identity = {"id": bundle.id, "target": bundle.manifest.target, "engine": self._engine.name}
        self.provenance = bundle.manifest.provenance

    def __call__(self, fields: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Judge`."""
        verdicts = [self._pipeline(field) for field in fields]
        none = 1 / len(LABELS)  # of a network that answered with numbers that are not finite
        probabilities = np.array([[v.probabilities.get(label, none) for label in LABELS] for v in verdicts], np.float64)
        return probabilities.reshape(-1, len(LABELS)), np.array([v.conclusive for v in verdicts], bool)

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()
