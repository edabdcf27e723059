"""Ways to find the cut of a channel: ours, and what users of other libraries would write. One name, one function.

Each takes a channel uint8 [H, W] and k, and returns the smallest level of every cluster, ascending (int [k]); where two
clusters meet, a value belongs to the nearer centre.
"""

from collections.abc import Callable

import cv2
import numpy as np
from kmeans1d import cluster as kmeans1d_cluster
from numpy.typing import ArrayLike, NDArray
from pages import table
from scipy.cluster.vq import kmeans2
from skimage.filters import threshold_multiotsu
from sklearn.cluster import KMeans, MiniBatchKMeans

from alledge.kmeans1d import Clusters, cluster_histogram
from alledge.segmentation import (
    PAPER_CLUSTERS,
    STAIN_CLUSTERS,
    balanced_saturation,
    clean,
    count_levels,
    find_cut,
    lab_a,
)

Channel = NDArray[np.uint8]
Lowest = NDArray[np.int64]
Way = Callable[[Channel, int], Lowest]
SEED = 0


def histogram(channel: Channel) -> NDArray[np.float32]:
    return np.asarray(count_levels(channel), np.float32)


def ours(channel: Channel, k: int) -> Lowest:
    return cluster_histogram(histogram(channel), k).lowest.astype(np.int64)


def scikit_learn(channel: Channel, k: int) -> Lowest:
    return between(KMeans(k, random_state=SEED).fit(_column(channel)).cluster_centers_)


def scikit_learn_ten(channel: Channel, k: int) -> Lowest:
    return between(KMeans(k, n_init=10, random_state=SEED).fit(_column(channel)).cluster_centers_)


def scikit_learn_batches(channel: Channel, k: int) -> Lowest:
    return between(MiniBatchKMeans(k, n_init="auto", random_state=SEED).fit(_column(channel)).cluster_centers_)


def scikit_learn_weighted(channel: Channel, k: int) -> Lowest:
    """What the library can do for those who know: the levels once each, weighted by how many pixels have them."""
    levels = np.arange(256, dtype=np.float64)[:, None]
    return between(KMeans(k, n_init=10, random_state=SEED).fit(levels, sample_weight=histogram(channel)
                                                               ).cluster_centers_)


def opencv(channel: Channel, k: int) -> Lowest:
    cv2.setRNGSeed(SEED)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 0.1)
    return between(cv2.kmeans(_column(channel), k, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2])


def scipy(channel: Channel, k: int) -> Lowest:
    return between(kmeans2(_column(channel), k, minit="++", rng=SEED)[0])


def kmeans1d(channel: Channel, k: int) -> Lowest:
    return between(kmeans1d_cluster(channel.ravel(), k).centroids)


def multi_otsu(channel: Channel, k: int) -> Lowest:
    """Equal to the optimal k-means by definition: least variance within is most between. A pixel is above a threshold.

    The histogram is of whole levels, so that the thresholds are, too.
    """
    thresholds = threshold_multiotsu(hist=(histogram(channel), np.arange(256)), classes=k)
    return np.concatenate([[0], np.asarray(thresholds, np.int64) + 1])


def between(centres: ArrayLike) -> Lowest:
    """Lowest level of each cluster, given the centres."""
    ordered = np.sort(np.asarray(centres, np.float64).ravel())
    return np.concatenate([[0], np.ceil((ordered[1:] + ordered[:-1]) / 2)]).astype(np.int64)


def inertia(channel: Channel, lowest: Lowest) -> float:
    """Sum of squared distances of all pixels to the mean of their cluster."""
    counts, levels = histogram(channel).astype(np.float64), np.arange(256.0)
    cluster = np.searchsorted(lowest, np.arange(256), side="right") - 1
    cluster = np.maximum(cluster, 0)
    mass, moment = (np.bincount(cluster, counts * x, len(lowest)) for x in (1, levels))
    means = moment / np.maximum(mass, 1)
    return float((counts * (levels - means[cluster]) ** 2).sum())


def _column(channel: Channel) -> NDArray[np.float32]:
    return channel.reshape(-1, 1).astype(np.float32)


OURS = "alledge: histogram, optimal"
PEERS: dict[str, Way] = {
    "kmeans1d": kmeans1d,
    "scikit-learn KMeans": scikit_learn,
    "scikit-learn KMeans, `n_init=10`": scikit_learn_ten,
    "scikit-learn MiniBatchKMeans": scikit_learn_batches,
    "scikit-learn KMeans, `n_init=10`, on our histogram": scikit_learn_weighted,
    "cv2.kmeans": opencv,
    "SciPy kmeans2": scipy,
}


def agreement_table(fields: list[Channel]) -> str:
    """Do peers find the same cut, and how near is each to the optimum?"""
    rows = []
    channels = [lab_a(rgb) for rgb in fields]
    best = [ours(a, PAPER_CLUSTERS) for a in channels]
    for name, way in ({OURS: ours} | PEERS).items():
        found = [way(a, PAPER_CLUSTERS) for a in channels]
        apart = [abs(cut(a, one) - cut(a, other)) for a, one, other in zip(channels, found, best, strict=True)]
        worse = [inertia(a, one) / inertia(a, other) for a, one, other in zip(channels, found, best, strict=True)]
        overlap = [dice(clean(mask(a, cut(a, one))), clean(mask(a, cut(a, other))))
                   for a, one, other in zip(channels, found, best, strict=True)]
        rows.append((name, f"{np.mean(np.array(apart) == 0):.0%}", f"{np.mean(apart):.2f}", max(apart),
                     f"{np.mean(worse):.3f}", f"{max(worse):.3f}", f"{np.mean(overlap):.3f}", f"{min(overlap):.3f}"))
    return table(("way", "same cut", "levels apart, mean", "worst", "inertia over the optimum, mean", "worst",
                  "Dice to our mask, mean", "worst"), rows)


def otsu_line(fields: list[Channel]) -> str:
    pairs = [(ours(s, STAIN_CLUSTERS), multi_otsu(s, STAIN_CLUSTERS)) for s in map(balanced_saturation, fields)]
    same = np.mean([np.array_equal(one[1:], other[1:]) for one, other in pairs])
    return (f"scikit-image's multi-Otsu with {STAIN_CLUSTERS} classes on the balanced saturation finds the same two "
            f"cuts as ours on {same:.0%} of the fields: it is the same optimum, searched by trying all.")


def cut(a: Channel, lowest: Lowest) -> int:
    """Otsu's threshold of the levels (paper 6.1.4) of clusters that begin at `lowest`; empty ones are left out."""
    counts = histogram(a).astype(np.float64)
    begins = lowest[lowest < len(counts)]
    masses, moments = (np.add.reduceat(counts * x, begins) for x in (1, np.arange(256)))
    held = masses > 0
    return find_cut(counts, Clusters(moments[held] / masses[held], begins[held], 0.0), "paper")


def mask(channel: Channel, level: int) -> Channel:
    return np.asarray(cv2.compare(channel, level, cv2.CMP_GE), np.uint8)


def dice(one: Channel, other: Channel) -> float:
    """Twice the overlap over the sum of both areas; 1 where both are empty."""
    inside, true = one > 0, other > 0
    both = inside.sum() + true.sum()
    return float(2 * (inside & true).sum() / both) if both else 1.0
