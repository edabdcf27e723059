"""The parity gate: is the converted network still the network that was trained?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.errors import GateNotMet
from alledge.labels import LABELS
from alledge.metrics import Z95, wilson

from .trained import Outputs

MIN_AGREEMENT = 0.98
MAX_DROP = 0.01  # of accuracy, one point
FORGIVING_TILES = 40  # from here on one tile is forgiven whatever the limits say: it is 2.5 % at most
PROVING_TILES = 200  # fewer cannot bound agreement at 98 % even without a single disagreement
_DEMANDED = ("agreement", "accuracy_drop", "goldens")


@dataclass(frozen=True)
class Accuracy:
    """Share of n tiles called rightly, before and after conversion, with 95 % Wilson intervals.

    Attributes:
        delta: after minus before, with its paired 95 % interval.
        lost: tiles right before and wrong now, less those gained.
    """

    n: int
    before: float
    before_ci95: tuple[float, float]
    after: float
    after_ci95: tuple[float, float]
    delta: float
    delta_ci95: tuple[float, float]
    lost: int


@dataclass(frozen=True)
class Comparison:
    """Float against converted on the same n tiles, paired.

    Attributes:
        agreement: share of tiles on which both name the same class, with its 95 % Wilson interval.
        max_abs, mean_abs: largest and mean difference of one probability.
        disagreed: tiles called differently.
        accuracy: None where the true classes are not known.
        recall: class -> the same for the tiles of that class; empty where they are not known.
    """

    n: int
    agreement: float
    agreement_ci95: tuple[float, float]
    max_abs: float
    mean_abs: float
    disagreed: int
    accuracy: Accuracy | None = None
    recall: Mapping[str, Accuracy] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)


def compare(before: Outputs, after: Outputs, truth: NDArray[np.int64] | None) -> Comparison:
    """Compare two networks' outputs on the same tiles, in the same order. truth: None where nobody knows it."""
    old, new = before.probs.argmax(1), after.probs.argmax(1)
    n, same = len(old), int((old == new).sum())
    change = np.abs(before.probs - after.probs)
    seen = Comparison(n, same / n, wilson(same, n), float(change.max()), float(change.mean()), n - same)
    if truth is None:
        return seen
    recall = {label: _accuracy(old[truth == c] == c, new[truth == c] == c) for c, label in enumerate(LABELS)
              if (truth == c).any()}
    return replace(seen, accuracy=_accuracy(old == truth, new == truth), recall=recall)


def _accuracy(was_right: NDArray[np.bool_], is_right: NDArray[np.bool_]) -> Accuracy:
    n, before, after = len(was_right), int(was_right.sum()), int(is_right.sum())
    lost, gained = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
    return Accuracy(n, before / n, wilson(before, n), after / n, wilson(after, n), (gained - lost) / n,
                    paired_interval(lost, gained, n), lost - gained)


def badness(comparison: Comparison) -> tuple[float, float]:
    """What to sort by, worst first."""
    return comparison.agreement, comparison.accuracy.delta if comparison.accuracy else 0.0


def paired_interval(lost: int, gained: int, n: int) -> tuple[float, float]:
    """95 % interval of (gained - lost) / n for pairs: adjusted Wald of Bonett and Price 2012, good from small n on."""
    down, up = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = Z95 * sqrt((down + up - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def gates(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, Any]]:
    """Agreement and, where it is known, accuracy under each set of kernels against their limits.

    From `FORGIVING_TILES` on one coin-flip case is forgiven; below it none is.
    """
    found = {
        "agreement": {"limit": MIN_AGREEMENT, "forgiven_tiles": _allowed(comparisons, 1 - MIN_AGREEMENT),
                      "measured": {k: c.agreement for k, c in comparisons.items()},
                      "passed": all(c.disagreed <= _forgiven(1 - MIN_AGREEMENT, c.n) for c in comparisons.values())}}
    known = {k: c.accuracy for k, c in comparisons.items() if c.accuracy is not None}
    if known:
        found["accuracy_drop"] = {"limit": MAX_DROP, "forgiven_tiles": _allowed(comparisons, MAX_DROP),
                                  "measured": {k: 0.0 - a.delta for k, a in known.items()},
                                  "passed": all(a.lost <= _forgiven(MAX_DROP, a.n) for a in known.values())}
    return found


def goldens_gate(spread: float, tolerance: float) -> dict[str, Any]:
    """Kernel sets of one machine against the tolerance that is asked of every other machine (both 0-1)."""
    return {"limit": tolerance, "measured": spread, "passed": spread <= tolerance}


def demand(gates: Mapping[str, Mapping[str, Any]], comparisons: Mapping[str, Comparison], remedy: str = "") -> None:
    """Refuse what did not pass. remedy: the target's own, a clause.

    Raises:
        GateNotMet: naming the figures, the limits and the way out.
    """
    failed = failed_gates(gates)
    if failed == ["goldens"]:
        raise GateNotMet(
            f"two kernel sets differ by {gates['goldens']['measured']:.3f} in a probability of a golden field (at most "
            f"{gates['goldens']['limit']:g}), so a device could not check itself; no bundle was written. Train longer "
            "or with more data, choose --target onnx, or accept it on record with --allow-drop")
    if failed:
        kernels, worst = min(comparisons.items(), key=lambda item: badness(item[1]))
        accuracy = "" if worst.accuracy is None else (
            f"accuracy {worst.accuracy.before:.1%} -> {worst.accuracy.after:.1%} (at most {MAX_DROP:.0%} less), ")
        raise GateNotMet(
            f"the converted model lost too much on {worst.n} tiles ({kernels} kernels): {accuracy}agreement "
            f"{worst.agreement:.1%} (at least {MIN_AGREEMENT:.0%}); no bundle was written. Train longer or with more "
            f"data, {remedy and f'{remedy}, '}choose --target onnx, or accept it on record with --allow-drop")


def failed_gates(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the gates that stand between a model and its bundle and were not met."""
    return [name for name in _DEMANDED if name in gates and not gates[name]["passed"]]


def doubts(comparisons: Mapping[str, Comparison]) -> list[str]:
    """What the figures cannot prove, and a network that never learned anything: one sentence each.

    Args:
        comparisons: by kernel set; the first is judged on the most tiles.
    """
    found = _untrained(next(iter(comparisons.values())))
    few: dict[tuple[int, float], list[str]] = {}
    for kernels, c in comparisons.items():
        if c.n < PROVING_TILES:
            few.setdefault((c.n, c.agreement_ci95[0]), []).append(kernels)
    return found + [f"judged on {n} tiles with {' and '.join(names)} kernels: agreement may be as low as {low:.1%} "
                    f"(95 % interval, limit {MIN_AGREEMENT:.0%}); {PROVING_TILES} or more would tell"
                    for (n, low), names in few.items()]


def _untrained(comparison: Comparison) -> list[str]:
    if comparison.accuracy is None or len(comparison.recall) < 2:
        return []
    commonest = max(part.n for part in comparison.recall.values()) / comparison.n
    if comparison.accuracy.before_ci95[0] > commonest:
        return []
    return [f"the float network is right on {comparison.accuracy.before:.1%} of the tiles it was judged on, no "
            f"better than always naming the commonest class ({commonest:.1%}): is it trained? Agreement with it proves "
            "nothing about smears"]


def _allowed(comparisons: Mapping[str, Comparison], share: float) -> dict[str, int]:
    return {kernels: _forgiven(share, c.n) for kernels, c in comparisons.items()}


def _forgiven(share: float, n: int) -> int:
    return max(int(n >= FORGIVING_TILES), floor(share * n + 1e-9))
