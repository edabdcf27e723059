"""The parity gate: is the converted network still the network that was trained?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.errors import GateNotMet
from alledge.metrics import Z95, wilson

from .trained import Outputs

MIN_AGREEMENT = 0.98
MAX_DROP = 0.01  # of accuracy, one point
FORGIVING_TILES = 40  # from here on one tile is forgiven whatever the limits say: it is 2.5 % at most
PROVING_TILES = 200  # fewer cannot bound agreement at 98 % even without a single disagreement
_DEMANDED = ("agreement", "accuracy_drop", "goldens")


@dataclass(frozen=True)
class Comparison:
    """Float against converted on the same n tiles, paired.

    Attributes:
        agreement: share of tiles on which both name the same class.
        max_abs: largest difference of one probability.
        float_accuracy, converted_accuracy: shares, with their 95 % Wilson intervals.
        delta: converted minus float accuracy, with its paired 95 % interval.
        disagreed, lost: tiles called differently; tiles right before and wrong now, less those gained.
    """

    n: int
    agreement: float
    agreement_ci95: tuple[float, float]
    max_abs: float
    float_accuracy: float
    float_ci95: tuple[float, float]
    converted_accuracy: float
    converted_ci95: tuple[float, float]
    delta: float
    delta_ci95: tuple[float, float]
    disagreed: int
    lost: int

    def to_json(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)


def compare(before: Outputs, after: Outputs, truth: NDArray[np.int64]) -> Comparison:
    """Compare two networks' outputs on the same tiles, in the same order."""
    n, old, new = len(truth), before.probs.argmax(1), after.probs.argmax(1)
    same, was_right, is_right = old == new, old == truth, new == truth
    lost, gained = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
    return Comparison(
        n=n,
        agreement=float(same.mean()),
        agreement_ci95=wilson(int(same.sum()), n),
        max_abs=float(np.abs(before.probs - after.probs).max()),
        float_accuracy=float(was_right.mean()),
        float_ci95=wilson(int(was_right.sum()), n),
        converted_accuracy=float(is_right.mean()),
        converted_ci95=wilson(int(is_right.sum()), n),
        delta=(gained - lost) / n,
        delta_ci95=paired_interval(lost, gained, n),
        disagreed=n - int(same.sum()),
        lost=lost - gained,
    )


def paired_interval(lost: int, gained: int, n: int) -> tuple[float, float]:
    """95 % interval of (gained - lost) / n for pairs: adjusted Wald of Bonett and Price 2012, good from small n on."""
    down, up = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = Z95 * sqrt((down + up - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def gates(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, Any]]:
    """Agreement and accuracy under each set of kernels against their limits.

    From `FORGIVING_TILES` on one coin-flip case is forgiven; below it none is.
    """
    return {
        "agreement": {"limit": MIN_AGREEMENT, "forgiven_tiles": _allowed(comparisons, 1 - MIN_AGREEMENT),
                      "measured": {k: c.agreement for k, c in comparisons.items()},
                      "passed": all(c.disagreed <= _forgiven(1 - MIN_AGREEMENT, c.n) for c in comparisons.values())},
        "accuracy_drop": {"limit": MAX_DROP, "forgiven_tiles": _allowed(comparisons, MAX_DROP),
                          "measured": {k: -c.delta for k, c in comparisons.items()},
                          "passed": all(c.lost <= _forgiven(MAX_DROP, c.n) for c in comparisons.values())},
    }


def goldens_gate(spread: float, tolerance: float) -> dict[str, Any]:
    """Kernel sets of one machine against the tolerance that is asked of every other machine (both 0-1)."""
    return {"limit": tolerance, "measured": spread, "passed": spread <= tolerance}


def demand(gates: Mapping[str, Mapping[str, Any]], comparisons: Mapping[str, Comparison]) -> None:
    """Refuse what did not pass.

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
        kernels, worst = min(comparisons.items(), key=lambda item: (item[1].agreement, item[1].delta))
        raise GateNotMet(
            f"the converted model lost too much on {worst.n} held-out tiles ({kernels} kernels): accuracy "
            f"{worst.float_accuracy:.1%} -> {worst.converted_accuracy:.1%} (at most {MAX_DROP:.0%} less), agreement "
            f"{worst.agreement:.1%} (at least {MIN_AGREEMENT:.0%}); no bundle was written. Train longer or with more "
            "data, choose --target onnx, or accept it on record with --allow-drop")


def failed_gates(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the gates that stand between a model and its bundle and were not met."""
    return [name for name in _DEMANDED if name in gates and not gates[name]["passed"]]


def doubts(comparison: Comparison) -> list[str]:
    """What the figures cannot prove, one sentence each."""
    if comparison.n >= PROVING_TILES:
        return []
    return [f"judged on {comparison.n} tiles: agreement may be as low as {comparison.agreement_ci95[0]:.1%} (95 % "
            f"interval); {PROVING_TILES} or more would tell"]


def _allowed(comparisons: Mapping[str, Comparison], share: float) -> dict[str, int]:
    return {kernels: _forgiven(share, c.n) for kernels, c in comparisons.items()}


def _forgiven(share: float, n: int) -> int:
    return max(int(n >= FORGIVING_TILES), floor(share * n + 1e-9))
