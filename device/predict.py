"""A bundle's answers to a list of images, for `alledge evaluate`."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.config import load_config
from alledge.images import read_image
from alledge.labels import LABELS

from .admission import open_bundle
from .engine import open_engine
from .pipeline import Pipeline


def predict_bundle(path: Path, images: Sequence[Path],
                   engine: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[str, str]]:
    """Judge images exactly as a device would.

    Returns:
        calibrated probabilities float64 [n, 4]; bool [n], False where the verdict was inconclusive; and what judged
        them: id, target, engine.

    Raises:
        AlledgeError: when the bundle, its engine or one of the images is refused.
    """
    bundle = open_bundle(path, load_config().bundle)
    with closing(open_engine(bundle, engine)) as running:
        pipeline = Pipeline(bundle, running)
        verdicts = [pipeline(read_image(image)) for image in images]
        judge = {"id": bundle.id, "target": bundle.manifest.target, "engine": running.name}
    probabilities = np.array([[v.probabilities[label] for label in LABELS] for v in verdicts], np.float64)
    return probabilities.reshape(-1, len(LABELS)), np.array([v.conclusive for v in verdicts], bool), judge
