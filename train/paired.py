"""Accuracy over several seeds with its interval, and whether two networks differ on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from alledge.metrics import wilson

RESAMPLES = 2000
Right = NDArray[np.bool_]  # [seeds, n]: was image i called right by the network of seed s


def interval(right: Right, groups: Sequence[str]) -> tuple[float, float]:
    """95 % interval of the accuracy averaged over seeds, for another draw of test images.

    Bootstrapped over whole groups, because fields of one slide are not independent, and never narrower than Wilson's
    interval of as many independent images: a perfect score resampled has no width at all.
    """
    share = right.mean(0)
    names, units = np.unique(groups, return_inverse=True)
    hits, sizes = (np.bincount(units, weights, len(names)) for weights in (share, np.ones(len(share))))
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = np.percentile(hits[drawn].sum(1) / sizes[drawn].sum(1), (2.5, 97.5))
    least = wilson(round(float(share.sum())), len(share))
    return min(float(low), least[0]), max(float(high), least[1])


@dataclass(frozen=True)
class Mcnemar:
    """Images that only the first or only the second network called right, and the chance of a split as uneven."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Right, second: Right) -> Mcnemar:
    """McNemar's exact test (two-sided binomial) of two networks on the same images.

    With several seeds an image counts for the network that called it right in more of them, so that every image
    counts once, however many seeds there are.
    """
    ahead, behind = ((a.mean(0) > b.mean(0)).sum() for a, b in ((first, second), (second, first)))
    p = binomtest(int(ahead), int(ahead + behind)).pvalue if ahead + behind else 1.0
    return Mcnemar(int(ahead), int(behind), float(p))
