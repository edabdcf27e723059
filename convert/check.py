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
PROVING_TILES = 200  # fewer cannot bound agreement at 98 % even without a single disagreement


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

    One tile is always forgiven: among 40, a single coin-flip case is 2.5 %.
    """
    return {
        "agreement": {"limit": MIN_AGREEMENT, "forgiven_tiles": 1,
                      "measured": {k: c.agreement for k, c in comparisons.items()},
                      "passed": all(c.disagreed <= _forgiven(1 - MIN_AGREEMENT, c.n) for c in comparisons.values())},
        "accuracy_drop": {"limit": MAX_DROP, "forgiven_tiles": 1,
                          "measured": {k: -c.delta for k, c in comparisons.items()},
                          "passed": all(c.lost <= _forgiven(MAX_DROP, c.n) for c in comparisons.values())},
    }


def demand(gates: Mapping[str, Mapping[str, Any]], comparisons: Mapping[str, Comparison]) -> None:
    """Refuse what did not pass.

    Raises:
        GateNotMet: naming the figures, the limits and the way out.
    """
    if failed_gates(gates):
        kernels, worst = min(comparisons.items(), key=lambda item: (item[1].agreement, item[1].delta))
        raise GateNotMet(
            f"the converted model lost too much on {worst.n} held-out tiles ({kernels} kernels): accuracy "
            f"{worst.float_accuracy:.1%} -> {worst.converted_accuracy:.1%} (at most {MAX_DROP:.0%} less), agreement "
            f"{worst.agreement:.1%} (at least {MIN_AGREEMENT:.0%}); no bundle was written. Train longer or with more "
            "data, choose --target onnx, or accept it on record with --allow-drop")


def failed_gates(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the parity gates that were not met."""
    return [name for name in ("agreement", "accuracy_drop") if not gates[name]["passed"]]


def doubts(comparison: Comparison) -> list[str]:
    """What the figures cannot prove, one sentence each."""
    if comparison.n >= PROVING_TILES:
        return []
    return [f"judged on {comparison.n} tiles: agreement may be as low as {comparison.agreement_ci95[0]:.1%} (95 % "
            f"interval); {PROVING_TILES} or more would tell"]


def _forgiven(share: float, n: int) -> int:
    return max(1, floor(share * n + 1e-9))
