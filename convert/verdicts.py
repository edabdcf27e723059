"""What a device would say of the judged tiles, before and after conversion: calibration, confidence and domain gate
included.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.calibration import Calibration, answered, apply_temperature, gate_input
from alledge.metrics import score, wilson

from .judgement import Judgement
from .trained import Outputs, Trained

_INCONCLUSIVE = -1
_MANY = 0.02  # of the tiles: as many more or fewer verdicts are worth a warning


def verdicts(trained: Trained, judgement: Judgement, calibration: Calibration) -> dict[str, Any]:
    """Float under the run's settings beside converted (default kernels) under the bundle's.

    `same`: share with the same verdict, inconclusive being one; `other_class`: tiles of which both give a verdict and
    not the same; `answered`: shares with a verdict; `ece`: calibration errors, None where true classes are not known.
    """
    old = _called(trained, judgement.before, trained.record.calibration)
    new = _called(trained, judgement.after, calibration)
    n, both = len(old), (old != _INCONCLUSIVE) & (new != _INCONCLUSIVE)
    shares = {"float": float((old != _INCONCLUSIVE).mean()), "converted": float((new != _INCONCLUSIVE).mean())}
    return {"n": n, "same": float((old == new).mean()), "same_ci95": list(wilson(int((old == new).sum()), n)),
            "other_class": int((both & (old != new)).sum()), "answered": shares,
            "ece": {"float": _ece(trained, judgement.before, trained.record.calibration),
                    "converted": _ece(trained, judgement.after, calibration)}}


def changes(found: dict[str, Any]) -> list[str]:
    """A warning when a device would give a verdict much more or less often than the float network, or another one."""
    told = []
    before, after = found["answered"]["float"], found["answered"]["converted"]
    if abs(after - before) > _MANY:
        told.append(f"with calibration and domain gate, {after:.1%} of {found['n']} tiles get a verdict, and "
                    f"{before:.1%} before conversion")
    if found["other_class"]:
        told.append(f"on {found['other_class']} of {found['n']} tiles the verdict names another class than before "
                    "conversion, both sure enough to be shown")
    return told


def _called(trained: Trained, outputs: Outputs, calibration: Calibration) -> NDArray[np.intp]:
    """Classes, or -1 where a device would say inconclusive."""
    probabilities = apply_temperature(outputs.probs, calibration.temperature)
    measured = gate_input(outputs.embedding, trained.held_out.pixels)
    return np.where(answered(probabilities, measured, calibration), probabilities.argmax(1), _INCONCLUSIVE)


def _ece(trained: Trained, outputs: Outputs, calibration: Calibration) -> float | None:
    if not trained.held_out.real:
        return None
    return score(apply_temperature(outputs.probs, calibration.temperature), trained.held_out.truth).ece
