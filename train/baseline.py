"""The figure every accuracy must stand beside: what a colour histogram knows without seeing one shape."""

import warnings
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alledge.runfolder import Tiles

BINS = 8  # per channel
MAX_ITERATIONS = 1000


def histogram_accuracy(train: Tiles, test: Tiles) -> float:
    """Accuracy on `test` of class-balanced logistic regression on 8x8x8 RGB histograms of `train`."""
    return float((histogram_guess(train, test) == test.truth).mean())


def histogram_guess(train: Tiles, test: Tiles) -> NDArray[np.int64]:
    """[n] class indices that the baseline gives the test tiles."""
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
