"""Figures about predictions, each with its uncertainty. NumPy only, so that a board reports the same ones."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.labels import LABELS, MALIGNANT

Z95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal
ECE_BINS = 15  # Guo et al., ICML 2017, section 2

Probabilities = NDArray[np.floating[Any]]
Classes = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one class; n is its number of true cases. None where nothing was to divide."""

    precision: float | None
    recall: float | None
    f1: float | None
    n: int


@dataclass(frozen=True)
class Scores:
    """Everything `alledge evaluate` says about a set of predictions (see docs/commands.md)."""

    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    macro_f1: float
    auc: float | None
    per_class: dict[str, ClassScore]
    confusion: list[list[int]]
    labels: list[str]
    ece: float
    abstained: int
    accuracy_when_answered: float | None
    malignant: dict[str, float | list[float] | None]

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def score(probabilities: Probabilities, truth: Classes, answered: NDArray[np.bool_] | None = None) -> Scores:
    """Score [n, 4] calibrated probabilities against [n] true class indices.

    Args:
        probabilities: rows sum to 1.
        truth: indices into `LABELS`.
        answered: [n], False where the decision was "inconclusive"; None when nothing may abstain.
    """
    guess = probabilities.argmax(1)
    right = guess == truth
    matrix = confusion(guess, truth)
    per_class = {label: _class_score(matrix, i) for i, label in enumerate(LABELS)}
    kept = np.ones(len(truth), bool) if answered is None else answered
    return Scores(
        n=len(truth),
        accuracy=float(right.mean()),
        accuracy_ci95=wilson(int(right.sum()), len(truth)),
        macro_f1=float(np.mean([s.f1 or 0.0 for s in per_class.values() if s.n])),
        auc=macro_auc(probabilities, truth),
        per_class=per_class,
        confusion=matrix.tolist(),
        labels=list(LABELS),
        ece=expected_calibration_error(probabilities, truth),
        abstained=int((~kept).sum()),
        accuracy_when_answered=float(right[kept].mean()) if kept.any() else None,
        malignant=_malignant(guess, truth),
    )


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of hits / n (Wilson 1927); (0, 1) when n is 0.

    It treats cases as independent. Fields of one slide are not, so the honest interval is wider; reports say so.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def confusion(guess: Classes, truth: Classes) -> NDArray[np.int64]:
    """[4, 4] counts: rows are the truth, columns the guess."""
    k = len(LABELS)
    return np.bincount(truth * k + guess, minlength=k * k).reshape(k, k)


def expected_calibration_error(probabilities: Probabilities, truth: Classes) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size (0-1)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(truth))


def macro_auc(probabilities: Probabilities, truth: Classes) -> float | None:
    """Mean one-versus-rest area under the ROC curve; None unless two classes are present."""
    present = np.unique(truth)
    if present.size < 2:
        return None
    return float(np.mean([_auc(probabilities[:, c], truth == c) for c in present]))


def _auc(value: Probabilities, positive: NDArray[np.bool_]) -> float:
    """Mann-Whitney form: chance that a positive outranks a negative, ties counting half."""
    _, rank, count = np.unique(value, return_inverse=True, return_counts=True)
    mean_rank = (np.cumsum(count) - (count - 1) / 2)[rank]
    positives = int(positive.sum())
    over = mean_rank[positive].sum() - positives * (positives + 1) / 2
    return float(over / (positives * (len(value) - positives)))


def _class_score(matrix: NDArray[np.int64], i: int) -> ClassScore:
    hits, guessed, n = matrix[i, i], matrix[:, i].sum(), matrix[i].sum()
    return ClassScore(_share(hits, guessed), _share(hits, n), _share(2 * hits, guessed + n), int(n))


def _malignant(guess: Classes, truth: Classes) -> dict[str, float | list[float] | None]:
    """Sensitivity and specificity of malignant against benign, with their intervals."""
    malignant = np.array([label in MALIGNANT for label in LABELS])
    sick, called = malignant[truth], malignant[guess]
    found, healthy = int((sick & called).sum()), int((~sick & ~called).sum())
    return {
        "sensitivity": _share(found, int(sick.sum())),
        "sensitivity_ci95": list(wilson(found, int(sick.sum()))),
        "specificity": _share(healthy, int((~sick).sum())),
        "specificity_ci95": list(wilson(healthy, int((~sick).sum()))),
    }


def _share(part: int | np.int64, whole: int | np.int64) -> float | None:
    return float(part / whole) if whole else None
