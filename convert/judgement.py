"""Float and converted network side by side on held-out tiles, under every kernel set, and what follows from it."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from alledge.calibration import Calibration, fit_calibration, fit_gate

from .check import Comparison, compare
from .converted import Converted
from .tiles import WORDS, spread
from .trained import Outputs, Trained, predict, tensors

SLOW_TILES = 60  # held-out tiles for kernels that take ten times as long


@dataclass(frozen=True)
class Judgement:
    """Attributes: comparisons by kernel set; before, after: float and converted (default kernels) on all tiles.

    milliseconds: what a tile took the default kernels on this machine, on average.
    """

    comparisons: dict[str, Comparison]
    before: Outputs
    after: Outputs
    milliseconds: float

    def worst(self, count: int) -> NDArray[np.intp]:
        """Indices of the tiles of which a probability changed most, worst first."""
        change = np.abs(self.before.probs - self.after.probs).max(1)
        return np.argsort(-change, kind="stable")[:count]


def judge(trained: Trained, converted: Converted) -> Judgement:
    """Run both networks on the held-out tiles; slow kernels judge an even sample."""
    held_out, preprocessing = trained.held_out, trained.record.preprocessing
    truth = held_out.truth if held_out.real else None
    default, *others = converted.kernels
    before, images = predict(trained, held_out), tensors(held_out.pixels, preprocessing)
    started = perf_counter()
    after = converted.run(images)
    milliseconds = (perf_counter() - started) * 1e3 / len(images)
    comparisons = {default: compare(before, after, truth)}
    for name in others:
        chosen = np.arange(len(held_out.truth))
        if name in converted.slow_kernels:
            chosen = spread(held_out, SLOW_TILES)
        outputs = converted.kernels[name](tensors(held_out.pixels[chosen], preprocessing))
        comparisons[name] = compare(before.rows(chosen), outputs, None if truth is None else truth[chosen])
    return Judgement(comparisons, before, after, milliseconds)


def calibrate(trained: Trained, converted: Converted, judgement: Judgement) -> Calibration:
    """Temperature, abstention and domain gate once more, on what the converted network really says.

    Drawn smears teach none of these: then the run's own settings stay.
    """
    if not (trained.calibration.real and trained.held_out.real):
        return trained.record.calibration
    training = converted.run(tensors(trained.calibration.pixels, trained.record.preprocessing))
    gate = fit_gate(training.embedding, trained.calibration.truth)
    after = judgement.after
    return fit_calibration(after.probs, after.embedding, trained.held_out.truth, gate)


def confessions(trained: Trained) -> list[str]:
    """What was not judged on real smears, one sentence each."""
    found = []
    if not trained.calibration.real:
        colours = "in the colours of its training set" if trained.record.palette else "in colours of their own"
        found.append(f"activation ranges come from drawn smears {colours}, because the run holds no training tiles")
    if not trained.held_out.real:
        found.append("judged on drawn smears: agreement with the float network is measured, accuracy is not; "
                     "temperature, abstention and domain gate are the float network's. With the images, --data and "
                     "--split measure all of it")
    return found


def sources(trained: Trained) -> dict[str, str]:
    """Where activation ranges and the judgement came from, for the manifest."""
    return {"ranged_on": WORDS[trained.calibration.origin], "judged_on": WORDS[trained.held_out.origin]}
