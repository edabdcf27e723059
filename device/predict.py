"""A bundle's answers to a list of images, for `alledge evaluate`."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.images import read_image
from alledge.labels import LABELS

from .engine import open_engine
from .pipeline import Pipeline


def predict_bundle(bundle: Path, paths: Sequence[Path], engine: str | None = None) -> tuple[
        NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]:
    """Judge images exactly as a device would.

    Returns:
        calibrated probabilities float64 [n, 4], embeddings float32 [n, d], and bool [n], False where the verdict was
        inconclusive.

    Raises:
        AlledgeError: when the bundle, its engine or one of the images is refused.
    """
    opened = Bundle.open(bundle)
    with closing(open_engine(opened, engine)) as running:
        pipeline = Pipeline(opened, running)
        probs, embeddings, answered = [], [], []
        for path in paths:
            look = pipeline.prepare(read_image(path))
            output = pipeline.infer(look)
            verdict = pipeline.decide(look, output)
            probs.append([verdict.probabilities[label] for label in LABELS])
            embeddings.append(output.embedding)
            answered.append(verdict.conclusive)
    width = opened.manifest.embedding.shape[-1]
    return (np.array(probs, np.float64).reshape(-1, len(LABELS)), np.array(embeddings, np.float32).reshape(-1, width),
            np.array(answered, bool))
