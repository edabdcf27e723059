"""Float and converted network side by side on held-out tiles, under every kernel set, and what follows from it."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from alledge.calibration import Calibration, apply_temperature, fit_calibration, gate_input

from .check import FORGIVING_TILES, Comparison, compare
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
    default, *others = converted.kernels
    before, images = predict(trained, held_out), tensors(held_out.pixels, preprocessing)
    started = perf_counter()
    after = converted.run(images)
    milliseconds = (perf_counter() - started) * 1e3 / len(images)
    comparisons = {default: _compare(trained, before, after, np.arange(len(images)))}
    for name in others:
        chosen = np.arange(len(held_out.truth))
        if name in converted.slow_kernels:
            chosen = spread(held_out, SLOW_TILES)
        outputs = converted.kernels[name](tensors(held_out.pixels[chosen], preprocessing))
        comparisons[name] = _compare(trained, before.rows(chosen), outputs, chosen)
    return Judgement(comparisons, before, after, milliseconds)


def _compare(trained: Trained, before: Outputs, after: Outputs, chosen: NDArray[np.intp]) -> Comparison:
    """Real tiles: all of them, with their classes. Drawn ones: those on which either network would give a verdict.

    A network trained on real smears is in two minds about many drawn ones; which of two classes is a hair ahead there
    says nothing, and no device would show it. Fewer than `FORGIVING_TILES` of them are no sample, then all count.
    """
    if trained.held_out.real:
        return compare(before, after, trained.held_out.truth[chosen])
    settings = trained.record.calibration
    sure = np.zeros(len(chosen), bool)
    for outputs in (before, after):
        sure |= apply_temperature(outputs.probs, settings.temperature).max(1) >= settings.abstain_below
    rows = np.flatnonzero(sure) if sure.sum() >= FORGIVING_TILES else np.arange(len(chosen))
    return compare(before.rows(rows), after.rows(rows), None)


def calibrate(trained: Trained, converted: Converted, judgement: Judgement) -> Calibration:
    """Temperature, abstention and the gate's reach once more, on what the converted network really says.

    The gate's means and covariance stay those of all training rows; a run keeps too few of them to fit it again.
    Drawn smears teach none of these, and neither do rows that the network has learned from: then the run's own
    settings stay.
    """
    if trained.record.out_of_fold or not (trained.calibration.real and trained.held_out.real):
        return trained.record.calibration
    after, held_out = judgement.after, trained.held_out
    gate = trained.record.calibration.gate
    distances = None if gate is None else gate.distance(gate_input(after.embedding, held_out.pixels))
    return fit_calibration(after.probs, distances, held_out.truth, gate)


def confessions(trained: Trained, ranged: bool) -> list[str]:
    """What was not judged on real smears, one sentence each. ranged: whether activation ranges were chosen."""
    found = []
    if ranged and not trained.calibration.real:
        colours = "in the colours of its training set" if trained.record.palette else "in colours of their own"
        found.append(f"activation ranges come from drawn smears {colours}, because the run holds no training tiles")
    if trained.record.out_of_fold and trained.held_out.real:
        found.append("the network has learned from the rows it was judged on here: agreement with the float network is "
                     "measured, accuracy on new images is not (the run's own figures tell it)")
    if not trained.held_out.real:
        found.append("judged on drawn smears: agreement with the float network is measured where one of them would "
                     "give a verdict, accuracy is not; temperature, abstention and domain gate are the float "
                     f"network's. {_more(trained)}")
    return found


def _more(trained: Trained) -> str:
    if trained.record.out_of_fold:
        return "This network has learned from all its images, so only other ones could measure its accuracy"
    return "With the images, --data and --split measure all of it"


def sources(trained: Trained, ranged: bool) -> dict[str, str]:
    """Where activation ranges, if there are any, and the judgement came from, for the manifest."""
    known = ", which the network has learned from" if trained.record.out_of_fold and trained.held_out.real else ""
    return {"ranged_on": WORDS[trained.calibration.origin] if ranged else "nothing",
            "judged_on": WORDS[trained.held_out.origin] + known}
