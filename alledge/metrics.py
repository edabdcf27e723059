"""Figures about predictions, each with its uncertainty. NumPy only, so that a board reports the same ones.

Two kinds of interval, both 95 %: Wilson's for shares (`*_ci95`), which treats images as independent, and a bootstrap
over whole groups (`*_group_ci95` for the same shares, and `*_ci95` for figures that are no shares: loss, F1, AUC, ECE,
AURC). Fields of one slide are not independent, so where the split has groups the second kind is the honest one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.figures import RESAMPLES, Cases, Figures, bootstrap, figures, reliability, risk_coverage
from alledge.labels import LABELS, MALIGNANT

Z95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal
CURVE_POINTS = 100  # of the risk-coverage curve that are kept

Probabilities = NDArray[np.floating[Any]]
Classes = NDArray[np.integer[Any]]
Interval = tuple[float, float]


@dataclass(frozen=True)
class ClassScore:
    """One class against the other three; n is its number of true cases. None where nothing was to divide."""

    precision: float | None
    recall: float | None
    f1: float | None
    specificity: float | None
    n: int
    precision_ci95: Interval | None
    recall_ci95: Interval | None
    f1_ci95: Interval | None
    specificity_ci95: Interval | None
    precision_group_ci95: Interval | None
    recall_group_ci95: Interval | None
    specificity_group_ci95: Interval | None


@dataclass(frozen=True)
class Scores:
    """Everything `alledge evaluate` says about a set of predictions (see docs/commands.md)."""

    n: int
    groups: int | None
    resamples: int
    accuracy: float
    accuracy_ci95: Interval
    accuracy_group_ci95: Interval | None
    loss: float
    loss_ci95: Interval | None
    macro_f1: float
    macro_f1_ci95: Interval | None
    auc: float | None
    auc_ci95: Interval | None
    per_class: dict[str, ClassScore]
    confusion: list[list[int]]
    verdicts: list[list[int]]
    labels: list[str]
    ece: float
    ece_ci95: Interval | None
    reliability: dict[str, list[float]]
    aurc: float
    aurc_ci95: Interval | None
    risk_coverage: dict[str, list[float]]
    abstained: int
    answered_ci95: Interval
    answered_group_ci95: Interval | None
    accuracy_when_answered: float | None
    accuracy_when_answered_ci95: Interval | None
    accuracy_when_answered_group_ci95: Interval | None
    malignant: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def score(probabilities: Probabilities, truth: Classes, answered: NDArray[np.bool_] | None = None,
          groups: Sequence[str] | None = None) -> Scores:
    """Score [n, 4] calibrated probabilities against [n] true class indices.

    Args:
        probabilities: rows sum to 1.
        truth: indices into `LABELS`.
        answered: [n], False where the decision was "inconclusive"; None when nothing may abstain.
        groups: [n] names of what belongs together (slide, patient); None, or all different, when nothing does.
    """
    n = len(truth)
    cases = Cases(probabilities, truth, np.ones(n, bool) if answered is None else answered)
    names, units = np.unique(np.arange(n) if groups is None else np.asarray(groups), return_inverse=True)
    grouped = len(names) < n
    point = figures(cases, np.ones((1, n)))
    spread = _Spread(point, bootstrap(cases, units), grouped)
    kept = int(cases.answered.sum())
    accuracy, answering = wilson(int(cases.right.sum()), n), wilson(kept, n)
    accuracy_when_answered = _wilson((cases.right & cases.answered).sum(), cases.answered.sum())
    matrix = confusion(cases.guess, truth)
    return Scores(
        n=n,
        groups=len(names) if grouped else None,
        resamples=RESAMPLES,
        accuracy=float(point.accuracy[0]),
        accuracy_ci95=accuracy,
        accuracy_group_ci95=spread.of_share("accuracy", accuracy),
        loss=float(point.loss[0]),
        loss_ci95=spread.of("loss"),
        macro_f1=float(point.macro_f1[0]),
        macro_f1_ci95=spread.of("macro_f1"),
        auc=_known(point.auc[0]),
        auc_ci95=spread.of("auc"),
        per_class={label: _class_score(point, spread, matrix, i) for i, label in enumerate(LABELS)},
        confusion=matrix.tolist(),
        verdicts=_verdicts(cases).tolist(),
        labels=list(LABELS),
        ece=float(point.ece[0]),
        ece_ci95=spread.around("ece"),
        reliability=_named(("confidence", "accuracy", "n"), reliability(probabilities, truth)),
        aurc=float(point.aurc[0]),
        aurc_ci95=spread.of("aurc"),
        risk_coverage=_named(("coverage", "risk"), _thinned(*risk_coverage(cases))),
        abstained=n - kept,
        answered_ci95=answering,
        answered_group_ci95=spread.of_share("answered", answering),
        accuracy_when_answered=_known(point.accuracy_when_answered[0]),
        accuracy_when_answered_ci95=accuracy_when_answered,
        accuracy_when_answered_group_ci95=spread.of_share("accuracy_when_answered", accuracy_when_answered),
        malignant=_malignant(cases, spread),
    )


def wilson(hits: int, n: int) -> Interval:
    """95 % Wilson score interval of hits / n (Wilson 1927); (0, 1) when n is 0.

    It treats cases as independent. Fields of one slide are not, so the honest interval is wider; reports say so.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low, high = float(middle - half), float(middle + half)
    return (0.0 if hits == 0 else max(0.0, low)), (1.0 if hits == n else min(1.0, high))  # exact where rounding is not


def confusion(guess: Classes, truth: Classes) -> NDArray[np.int64]:
    """[4, 4] counts: rows are the truth, columns the guess."""
    k = len(LABELS)
    return np.bincount(truth * k + guess, minlength=k * k).reshape(k, k)


def expected_calibration_error(probabilities: Probabilities, truth: Classes) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size (0-1)."""
    confidence, accuracy, counts = reliability(probabilities, truth)
    return float(np.abs((confidence - accuracy) * counts).sum() / len(truth))


@dataclass(frozen=True)
class _Spread:
    """Intervals read off a bootstrap distribution; `row` picks a class where a figure has one value per class."""

    point: Figures
    drawn: Figures
    grouped: bool

    def of(self, name: str, row: int | None = None) -> Interval | None:
        """Percentile interval; None when the figure exists in no resample, or in none worth the name."""
        values = self._drawn(name, row)
        if values.size < RESAMPLES / 2:
            return None
        low, high = np.percentile(values, (2.5, 97.5))
        return float(low), float(high)

    def of_share(self, name: str, independent: Interval | None, row: int | None = None) -> Interval | None:
        """The same for a share, never inside its Wilson interval: drawing from a perfect score gives no width at all.
        None where there are no groups.
        """
        drawn = self.of(name, row) if self.grouped else None
        if drawn is None or independent is None:
            return None
        return min(drawn[0], independent[0]), max(drawn[1], independent[1])

    def around(self, name: str) -> Interval | None:
        """Symmetric interval (Hall 1988), within 0 to 1, for a figure that resampling itself pushes up, as it does a
        calibration error: its percentile interval can lie wholly above the figure.
        """
        values, centre = self._drawn(name, None), float(getattr(self.point, name)[0])
        half = float(np.percentile(np.abs(values - centre), 95.0))
        return max(0.0, centre - half), min(1.0, centre + half)

    def _drawn(self, name: str, row: int | None) -> Probabilities:
        values = getattr(self.drawn, name)
        values = values if row is None else values[:, row]
        return values[~np.isnan(values)]


def _class_score(point: Figures, spread: _Spread, matrix: NDArray[np.int64], i: int) -> ClassScore:
    hits, called, n, total = matrix[i, i], matrix[:, i].sum(), matrix[i].sum(), matrix.sum()
    precision, recall = _wilson(hits, called), _wilson(hits, n)
    specificity = _wilson(total - n - (called - hits), total - n)
    return ClassScore(
        precision=_known(point.class_precision[0, i]),
        recall=_known(point.class_recall[0, i]),
        f1=_known(point.class_f1[0, i]),
        specificity=_known(point.class_specificity[0, i]),
        n=int(n),
        precision_ci95=precision,
        recall_ci95=recall,
        f1_ci95=spread.of("class_f1", i) if n else None,
        specificity_ci95=specificity,
        precision_group_ci95=spread.of_share("class_precision", precision, i),
        recall_group_ci95=spread.of_share("class_recall", recall, i),
        specificity_group_ci95=spread.of_share("class_specificity", specificity, i),
    )


def _malignant(cases: Cases, spread: _Spread) -> dict[str, Any]:
    """Sensitivity and specificity of malignant against benign, with their intervals.

    `missed`: malignant images that were answered, and answered benign: the error that costs most.
    """
    malignant = np.array([label in MALIGNANT for label in LABELS])
    sick, called = malignant[cases.truth], malignant[cases.guess]
    sensitivity = wilson(int((sick & called).sum()), int(sick.sum()))
    specificity = wilson(int((~sick & ~called).sum()), int((~sick).sum()))
    return {
        "sensitivity": _known(spread.point.sensitivity[0]),
        "sensitivity_ci95": list(sensitivity),
        "sensitivity_group_ci95": spread.of_share("sensitivity", sensitivity),
        "specificity": _known(spread.point.specificity[0]),
        "specificity_ci95": list(specificity),
        "specificity_group_ci95": spread.of_share("specificity", specificity),
        "missed": int((sick & ~called & cases.answered).sum()),
    }


def _verdicts(cases: Cases) -> NDArray[np.int64]:
    """[4, 5] counts of what a user is told: rows are the truth, columns the four classes and "inconclusive"."""
    k = len(LABELS)
    told = np.where(cases.answered, cases.guess, k)
    return np.bincount(cases.truth * (k + 1) + told, minlength=k * (k + 1)).reshape(k, k + 1)


def _thinned(coverage: Probabilities, risk: Probabilities) -> tuple[Probabilities, Probabilities]:
    """At most `CURVE_POINTS` points of a curve, its ends among them."""
    rows = np.unique(np.linspace(0, len(coverage) - 1, CURVE_POINTS).round().astype(int))
    return coverage[rows], risk[rows]


def _named(names: Sequence[str], columns: Sequence[NDArray[Any]]) -> dict[str, list[float]]:
    return {name: column.tolist() for name, column in zip(names, columns, strict=True)}


def _wilson(hits: np.int64, n: np.int64) -> Interval | None:
    return wilson(int(hits), int(n)) if n else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
