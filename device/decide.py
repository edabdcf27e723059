"""From a model's output to a verdict that is safe to show, or to "inconclusive" and why. Pure arithmetic."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from alledge.calibration import Calibration, apply_temperature, gate_figures
from alledge.labels import INCONCLUSIVE, LABELS
from alledge.verdict import Verdict

from .engine import Output

NO_STAIN = np.zeros(0)


def decide(output: Output, calibration: Calibration, doubts: Sequence[str] = (),
           stain: NDArray[np.float64] = NO_STAIN) -> Verdict:
    """Calibrate, and abstain when there is any reason to.

    Args:
        output: the engine's raw probabilities [4] and embedding [d].
        calibration: temperature, abstention threshold and domain gate of the bundle.
        doubts: what the quality check and the segmentation have to say against the field, one sentence each.
        stain: `stain_figures` of the field, which the domain gate measures beside the embedding.

    Returns:
        a verdict; inconclusive and without probabilities when the output is not all finite numbers.
    """
    if not (np.isfinite(output.probs).all() and np.isfinite(output.embedding).all()):
        return Verdict(INCONCLUSIVE, 0.0, {}, (*doubts, "the model answered with numbers that are not finite"))
    calibrated = apply_temperature(output.probs[None], calibration.temperature)[0]
    confidence = float(calibrated.max())
    gates = _gates(gate_figures(output.embedding[None], stain[None]), calibration)
    reasons = (*doubts, *_abstentions(confidence, gates))
    return Verdict(
        verdict=INCONCLUSIVE if reasons else LABELS[int(calibrated.argmax())],
        confidence=confidence,
        probabilities={label: float(p) for label, p in zip(LABELS, calibrated, strict=True)},
        reasons=reasons,
        gates={name: value for name, value in gates.items() if np.isfinite(value)},
    )


def _gates(figures: NDArray[np.float64], calibration: Calibration) -> dict[str, float]:
    """What the field, [1, d] as the domain gate measures it, is held against, and how far away it is."""
    gates = {"confidence_least": calibration.abstain_below}
    if calibration.gate is not None:
        gates["distance"] = float(calibration.gate.distance(figures)[0])
        gates["distance_most"] = calibration.gate.threshold
    return gates


def _abstentions(confidence: float, gates: Mapping[str, float]) -> list[str]:
    """Written as `not ...` so that a NaN, which compares false with everything, is refused too."""
    reasons = []
    if not confidence >= gates["confidence_least"]:
        reasons.append("not sure enough: confidence {}, this model answers from {}".format(
            *_apart(confidence, gates["confidence_least"], ".0%", ".2%")))
    if "distance" in gates and not gates["distance"] <= gates["distance_most"]:
        reasons.append("not like the smears this model learned from: distance {}, accepted up to {}".format(
            *_apart(gates["distance"], gates["distance_most"], ".1f", ".3f")))
    return reasons


def _apart(value: float, limit: float, *forms: str) -> list[str]:
    """Both in the shortest form in which they differ: "75%, answers from 75%" would be no reason."""
    pairs = [[format(value, form), format(limit, form)] for form in forms]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])
