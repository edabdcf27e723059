"""Globally optimal one-dimensional k-means on an 8-bit histogram.

In one dimension every optimal cluster is an interval of values, so dynamic programming over the at most 256
distinct values finds the true optimum: no seed, no initialisation, no iteration count (Wang and Song, "Ckmeans.1d.dp",
The R Journal 3/2, 2011, gives the recurrence). Prefix sums make the cost of every interval one subtraction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEP = 20  # every so many ends are looked at first, where three clusters are wanted
_MIDDLE = 128  # of the levels
_POWERS = np.power(np.arange(256.0) - _MIDDLE, [[0], [1], [2]])
_ROUNDING = 1e-12  # of the sum of all squares: costs nearer to each other than that are taken for equal
_UNREACHABLE = np.triu(np.full((256, 256), -np.inf))  # clusters after the first that would end before they start


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
    sums = _prefix_sums(histogram, values)
    edges, inertia = _three_edges(sums) if k == 3 else _best_edges(sums, k)
    at = sums[:2, edges]
    weight, moment = at[:, 1:] - at[:, :-1]
    return Clusters(moment / weight + _MIDDLE, values[edges[:-1]], inertia)


def _prefix_sums(histogram: NDArray[np.generic], values: NDArray[np.intp]) -> NDArray[np.float64]:
    """[3, n + 1]: sums of w, w x and w x^2 over all of the n values before each index; x counts from the middle."""
    sums = np.zeros((3, values.size + 1))
    sums[:, 1:] = np.add.accumulate(_POWERS * histogram, axis=1)[:, values]
    return sums


def _best_edges(sums: NDArray[np.float64], k: int) -> tuple[NDArray[np.intp], float]:
    """Indices [k + 1] between which the k clusters of least total cost lie, and that cost."""
    mass, moment, square = sums
    n = mass.size - 1
    saved = _saved(mass, moment)
    best = moment[1:] * moment[1:] / mass[1:]
    last_start = np.zeros((k, n), np.intp)
    rows = np.arange(0, n * (n - 1), n - 1)
    for used in range(1, k):
        ends = slice(n) if used < k - 1 else slice(n - 1, n)  # the last cluster ends at the last value and nowhere else
        total = saved[ends] + best[:-1]
        chosen = total.argmax(1, out=last_start[used, ends])
        best = total.ravel().take(rows[:chosen.size] + chosen)
    edges = np.full(k + 1, n)
    for used in range(k - 1, 0, -1):
        edges[used] = last_start[used, edges[used + 1] - 1] + 1
    edges[0] = 0
    return edges, float(square[-1] - best[-1])


def _saved(mass: NDArray[np.float64], moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, n - 1]: at [i, j - 1] what the one cluster of values j..i saves of their sum of squares: moment^2 / mass,
    which is less work than its cost. Minus infinity where i < j.
    """
    spans, saved = mass[1:, None] - mass[1:-1], moment[1:, None] - moment[1:-1]
    saved *= saved
    saved /= np.maximum(spans, 1.0, out=spans)  # only what cannot be is below one
    saved += _UNREACHABLE[:len(saved), :len(saved) - 1]
    return saved


def _three_edges(sums: NDArray[np.float64]) -> tuple[NDArray[np.intp], float]:
    """`_best_edges` of three clusters in a fraction of the work.

    Two clusters cost no less the more values they hold, and the third no more the fewer are left. So between two ends
    that were looked at nothing can be better than what the two cost at the first and the third after the last; and
    where the second cluster starts lies between where it starts for them.
    """
    mass, moment, square = sums
    n = mass.size - 1
    first, last = moment * moment, moment[-1] - moment[:-1]
    first[1:] /= mass[1:]
    last *= last
    last /= mass[-1] - mass[:-1]

    def look(ends: slice, low: int, high: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The best start of the second cluster, of `low` to `high` - 1, for each end, and what the two save."""
        spans, saved = mass[ends, None] - mass[low:high], moment[ends, None] - moment[low:high]
        saved *= saved
        if high > ends.start:  # there may be nothing in between, which saves nothing
            np.copyto(spans, 1.0, where=spans == 0)
        saved /= spans  # below zero, and so never the best, where the cluster would end before it starts
        saved += first[low:high]
        return saved.argmax(1) + low, saved.max(1)

    ends = slice((n - 3) % _STEP + 2, n, _STEP)
    start, two = look(ends, 1, n)
    squares, reach = square[ends], last[ends]
    most = (two + reach).max()
    reach = reach + squares
    reach[1:] += (two - squares)[:-1]
    left = np.flatnonzero(reach >= most - _ROUNDING * square[-1])
    before, after = int(left[0]) - 1, int(left[-1])
    low, earliest = (int(start[before]), ends.start + before * _STEP) if left[0] else (1, 2)
    ends = slice(earliest, ends.start + after * _STEP + 1)
    start, two = look(ends, low, int(start[after]) + 1)
    best = int((two + last[ends]).argmax())
    return np.array([0, start[best], earliest + best, n]), float(square[-1] - two[best] - last[earliest + best])
