"""Globally optimal one-dimensional k-means on an 8-bit histogram.

In one dimension every optimal cluster is an interval of values, so dynamic programming over the at most 256
distinct values finds the true optimum: no seed, no initialisation, no iteration count (Wang and Song, "Ckmeans.1d.dp",
The R Journal 3/2, 2011, gives the recurrence). The prefix sums make the cost of every interval one subtraction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clusters:
    """Clusters of a histogram in ascending order.

    Attributes:
        centres: float64 [k], mean value of each cluster.
        lowest: int [k], smallest value that belongs to each cluster.
        inertia: sum of squared distances of all pixels to their centre, in squared levels.
    """

    centres: NDArray[np.float64]
    lowest: NDArray[np.intp]
    inertia: float


def cluster_histogram(histogram: NDArray[np.generic], k: int) -> Clusters:
    """Split the values of `histogram` (counts, [256]) into at most `k` clusters of least inertia."""
    values = np.flatnonzero(histogram)
    if values.size <= k:
        return Clusters(values.astype(np.float64), values, 0.0)
    weight, moment, square = _prefix_sums(values - values[0], histogram[values].astype(np.float64))
    starts, inertia = _best_starts(_interval_costs(weight, moment, square), k)
    ends = np.append(starts[1:], values.size)
    centres = (moment[ends] - moment[starts]) / (weight[ends] - weight[starts]) + values[0]
    return Clusters(centres, values[starts], inertia)


def _prefix_sums(x: NDArray[np.intp], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, n + 1]: sums of w, w x and w x^2 over all values before each index."""
    sums = np.zeros((3, x.size + 1))
    np.cumsum([weight, weight * x, weight * x * x], axis=1, out=sums[:, 1:])
    return sums


def _interval_costs(weight: NDArray[np.float64], moment: NDArray[np.float64],
                    square: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, n]: inertia of the one cluster that holds values i..j at [j, i]; infinite where i > j."""
    mass = np.subtract.outer(weight[1:], weight[:-1])
    first = np.subtract.outer(moment[1:], moment[:-1])
    cost = np.subtract.outer(square[1:], square[:-1])
    np.maximum(mass, 1.0, out=mass)  # only the masked upper triangle is below one
    cost -= first * first / mass
    cost[np.triu_indices(mass.shape[0], 1)] = np.inf
    return cost


def _best_starts(cost: NDArray[np.float64], k: int) -> tuple[NDArray[np.intp], float]:
    """Indices at which the k clusters of least total cost start, and that cost."""
    n = cost.shape[0]
    best = cost[:, 0]
    last_start = np.zeros((k, n), np.intp)
    total = np.full((n, n), np.inf)
    for used in range(1, k):
        np.add(cost[:, 1:], best[:-1], out=total[:, 1:])
        last_start[used] = total.argmin(1)
        best = total[np.arange(n), last_start[used]]
    starts = np.zeros(k, np.intp)
    end = n - 1
    for used in range(k - 1, -1, -1):
        starts[used] = last_start[used, end]
        end = starts[used] - 1
    return starts, float(best[n - 1])
