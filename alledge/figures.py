"""Every figure as a function of case weights: all ones give the figure, resampled weights its bootstrap distribution.

One piece of arithmetic serves both, so an interval can never belong to another definition than its figure. Whole
groups are drawn (Davison and Hinkley 1997, section 3.8), because fields of one slide resemble each other: drawing
fields would make the interval too narrow. NumPy only; nothing is sorted twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.labels import LABELS, MALIGNANT

RESAMPLES = 1000
SEED = 20250817  # fixed: the same predictions give the same interval on every machine
ECE_BINS = 15  # Guo et al., ICML 2017, section 2
_CHUNK = 1_000_000  # weights held at once
_TINY = 1e-7

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Cases:
    """Judged images: calibrated probabilities [n, 4], true class indices [n], answered [n]."""

    probabilities: Array
    truth: NDArray[np.integer[Any]]
    answered: NDArray[np.bool_]

    @property
    def guess(self) -> NDArray[np.integer[Any]]:
        """[n] most likely class."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> Array:
        """[n] probability of the most likely class."""
        return self.probabilities.max(1)

    @property
    def right(self) -> NDArray[np.bool_]:
        """[n] whether the most likely class is the true one, answered or not."""
        return self.guess == self.truth


@dataclass(frozen=True)
class Figures:
    """Figures under b weightings, each float64 [b] (per class: [b, 4]). NaN where nothing was to divide."""

    accuracy: Array
    loss: Array
    macro_f1: Array
    auc: Array
    ece: Array
    aurc: Array
    answered: Array
    accuracy_when_answered: Array
    sensitivity: Array
    specificity: Array
    class_precision: Array
    class_recall: Array
    class_f1: Array
    class_specificity: Array


def figures(cases: Cases, weights: Array) -> Figures:
    """All figures of [n] cases under [b, n] weights (0 leaves a case out, 2 counts it twice)."""
    total, right = weights.sum(1), weights @ cases.right
    answered = weights @ cases.answered
    k = len(LABELS)
    cells = np.eye(k * k)[cases.truth * k + cases.guess]
    matrix = (weights @ cells).reshape(-1, k, k)  # [b, truth, guess]
    hits, is_class, called = matrix[:, range(k), range(k)], matrix.sum(2), matrix.sum(1)
    f1 = _share(2 * hits, is_class + called)
    malignant = np.array([label in MALIGNANT for label in LABELS])
    others = total[:, None] - is_class
    return Figures(
        accuracy=_share(right, total),
        loss=_share(weights @ _nll(cases), total),
        macro_f1=_mean(np.where(is_class > 0, np.nan_to_num(f1), np.nan)),
        auc=_macro_auc(cases, weights),
        ece=_share(np.abs(weights @ _calibration_gaps(cases)).sum(1), total),
        aurc=_area_under_risk(cases, weights),
        answered=_share(answered, total),
        accuracy_when_answered=_share(weights @ (cases.right & cases.answered), answered),
        sensitivity=_share(matrix[:, malignant][:, :, malignant].sum((1, 2)), is_class[:, malignant].sum(1)),
        specificity=_share(matrix[:, ~malignant][:, :, ~malignant].sum((1, 2)), is_class[:, ~malignant].sum(1)),
        class_precision=_share(hits, called),
        class_recall=_share(hits, is_class),
        class_f1=f1,
        class_specificity=_share(others - (called - hits), others),
    )


def bootstrap(cases: Cases, units: NDArray[np.integer[Any]]) -> Figures:
    """Figures of `RESAMPLES` draws of whole units, with replacement.

    Args:
        cases: [n] judged images.
        units: [n] index of the unit (group) each belongs to, 0 to the number of units - 1.
    """
    parts = [figures(cases, weights) for weights in _draws(units)]
    return Figures(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Figures)))


def risk_coverage(cases: Cases) -> tuple[Array, Array]:
    """Share answered and error among the answered [m] when only the most confident ones are, from few to all.

    Geifman and El-Yaniv, NeurIPS 2017. Cases of equal confidence are let in together, so their order has no say.
    """
    weights = np.ones((1, len(cases.truth)))
    kept, wrong = _kept_and_wrong(cases, weights)
    return kept[0] / len(cases.truth), wrong[0] / kept[0]


def reliability(probabilities: Array, truth: NDArray[np.integer[Any]]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Mean confidence, accuracy and number of cases of each bin of equal width that holds any: [m] each."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = _bins(confidence)
    counts = np.bincount(bins, minlength=ECE_BINS)
    full = counts > 0
    sums = (np.bincount(bins, weights=values, minlength=ECE_BINS)[full] for values in (confidence, right))
    mean_confidence, accuracy = (values / counts[full] for values in sums)
    return mean_confidence, accuracy, counts[full]


def _draws(units: NDArray[np.integer[Any]]) -> Iterator[Array]:
    """Chunks [b, n] of case weights: how often each case's unit was drawn."""
    random, n = np.random.default_rng(SEED), int(units.max()) + 1
    chunk = max(1, _CHUNK // len(units))
    for start in range(0, RESAMPLES, chunk):
        counts = random.multinomial(n, np.full(n, 1 / n), size=min(chunk, RESAMPLES - start))
        yield counts[:, units].astype(np.float64)


def _nll(cases: Cases) -> Array:
    """[n] negative log-likelihood of the true class, in nats; at most 16, so that one case cannot be infinite."""
    return -np.log(np.maximum(cases.probabilities[np.arange(len(cases.truth)), cases.truth], _TINY))


def _calibration_gaps(cases: Cases) -> Array:
    """[n, bins]: a case's confidence minus whether it was right, in the column of its bin."""
    return np.eye(ECE_BINS)[_bins(cases.confidence)] * (cases.confidence - cases.right)[:, None]


def _bins(confidence: Array) -> NDArray[np.int64]:
    return np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def _macro_auc(cases: Cases, weights: Array) -> Array:
    """[b] mean one-versus-rest area under the ROC curve over the classes present; NaN with fewer than two."""
    areas = [_auc(cases.probabilities[:, c], cases.truth == c, weights) for c in np.unique(cases.truth)]
    return _mean(np.stack(areas, 1))


def _auc(value: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """[b] Mann-Whitney form: chance that a positive outranks a negative, ties counting half."""
    order, starts = _runs(value)
    weights, positive = weights[:, order], positive[order]
    above = np.add.reduceat(weights * positive, starts, axis=1)
    below = np.add.reduceat(weights * ~positive, starts, axis=1)
    outranked = np.cumsum(below, axis=1) - below / 2
    return _share((above * outranked).sum(1), above.sum(1) * below.sum(1))


def _area_under_risk(cases: Cases, weights: Array) -> Array:
    """[b] area under the risk-coverage curve: the mean error over all shares answered. Lower is better."""
    kept, wrong = _kept_and_wrong(cases, weights)
    steps = np.diff(kept, axis=1, prepend=0.0)
    return _share((steps * np.nan_to_num(_share(wrong, kept))).sum(1), kept[:, -1])


def _kept_and_wrong(cases: Cases, weights: Array) -> tuple[Array, Array]:
    """[b, m] weight of the cases let in, and of the wrong ones among them, from the surest to all."""
    order, starts = _runs(-cases.confidence)
    weights = weights[:, order]
    kept = np.add.reduceat(weights, starts, axis=1)
    wrong = np.add.reduceat(weights * ~cases.right[order], starts, axis=1)
    return np.cumsum(kept, axis=1), np.cumsum(wrong, axis=1)


def _runs(value: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order that sorts [n] values upwards, and where in it each run of equal values starts."""
    order = np.argsort(value, kind="stable")
    return order, np.flatnonzero(np.diff(value[order], prepend=-np.inf))


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)


def _mean(values: Array) -> Array:
    """[b] mean of [b, m] over what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(1), known.sum(1).astype(np.float64))
