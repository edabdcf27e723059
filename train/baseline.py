"""The figure every accuracy must stand beside: what a colour histogram knows without seeing one shape."""

import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alledge.dataset import Item
from alledge.preprocess import Preprocessing
from alledge.runfolder import Tiles

from .batches import read_tiles

WHOLE_FIELD = Preprocessing(size=224, segment="none")
BINS = 8  # per channel
MAX_ITERATIONS = 1000


def histogram_accuracy(train: Sequence[Item], test: Sequence[Item]) -> float | None:
    """Accuracy on `test` of class-balanced logistic regression on 8x8x8 RGB histograms of `train`, whole fields.

    None when there is nothing to learn from or nothing to be judged on.
    """
    if len({item.label for item in train}) < 2 or not test:
        return None
    seen, judged = (read_tiles(items, WHOLE_FIELD) for items in (train, test))
    return float((_guess(seen, judged) == judged.truth).mean())


def _guess(train: Tiles, test: Tiles) -> NDArray[np.int64]:
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline at its iteration limit is still a baseline
        model.fit(_histograms(train), train.truth)
    return np.asarray(model.predict(_histograms(test)), np.int64)


def _histograms(tiles: Tiles) -> NDArray[np.floating[Any]]:
    """[n, 512] square roots of colour shares, which a linear model separates better than the shares."""
    rows = [cv2.calcHist([tile], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).ravel() for tile in tiles.pixels]
    counts = np.stack(rows)
    return np.sqrt(counts / counts.sum(1, keepdims=True))
