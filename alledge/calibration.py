"""What turns raw probabilities into a verdict that is safe to show: temperature, abstention and domain gate.

Fitted by training on held-out rows and again by conversion on the converted model's own outputs (a run calibrated out
of fold keeps its own); applied by the device. Everything is plain NumPy over arrays that fit in a bundle.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from alledge.palette import FIGURES, stain_figures

Array = NDArray[np.floating[Any]]
TEMPERATURES = np.geomspace(0.25, 8.0, 121)  # wide enough for any network that learned something
ANSWERED_ACCURACY = 0.99  # what the abstention threshold aims at on validation rows
LEAST_CONFIDENCE = 0.75  # ... and no lower than three to one, unless that refuses more than the share below
MAX_ABSTAINED = 0.20  # ... without refusing more than this share of them
MORE_LIKELY_RIGHT = 0.5  # ... but for what is likelier to be wrong: a network that learned nothing answers nothing
GATE_QUANTILE = 0.98  # share of validation rows the domain gate lets through
SHRINKAGE = 0.1  # weight of the covariance's own diagonal: embeddings have idle directions
BLUE_CONTRAST = -1  # place in `gate_input`, and in `stain_figures`, of the log deviation of blue density
WIDEST = 256  # numbers of an embedding that the gate measures one by one
_TINY = 1e-7


class DomainGate(BaseModel):
    """Class-conditional distance of embedding and stain, beyond which a field is "not like the training smears".

    Lee et al., NeurIPS 2018 (one covariance shared by the classes), with the covariance shrunk towards its diagonal.
    What it measures is made by `gate_input`.

    Attributes:
        means: [classes, d] mean of each class.
        whiten: [d, d] matrix W with W W^T = inverse covariance.
        threshold: largest distance that is still accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    means: list[list[float]] = Field(min_length=1, max_length=16)
    whiten: list[list[float]] = Field(min_length=1, max_length=512)
    threshold: float = Field(gt=0)

    def distance(self, measured: Array) -> NDArray[np.float64]:
        """[n] distances of [n, d] to the nearest class mean."""
        return np.linalg.norm((measured @ self._arrays.whiten)[:, None] - self._arrays.means, axis=2).min(1)

    def darkness(self, stain: Array, label: int) -> float:
        """How many standard deviations a field's blue contrast is above that of a class's training rows.

        Stains take little blue away, so what they do to it tells a strong stain from a class whose nuclei are dark.

        Args:
            stain: its `stain_figures` [6].
            label: index of the class.
        """
        return float((stain[BLUE_CONTRAST] - self.means[label][BLUE_CONTRAST]) / self._deviation)

    @cached_property
    def _arrays(self) -> "_Arrays":
        """Made once: a device asks at every field."""
        whiten = np.asarray(self.whiten)
        return _Arrays(whiten, np.asarray(self.means) @ whiten)

    @cached_property
    def _deviation(self) -> float:
        """Of blue contrast about its class's mean, from the covariance that `whiten` takes apart."""
        try:
            return float(np.linalg.norm(np.linalg.inv(self.whiten)[:, BLUE_CONTRAST]))
        except np.linalg.LinAlgError:  # of a matrix that says nothing of some direction
            return math.inf


@dataclass(frozen=True, eq=False)  # gates are compared by their fields, and arrays cannot be
class _Arrays:
    """whiten: as in the gate; means: whitened."""

    whiten: Array
    means: Array


class Calibration(BaseModel):
    """The three settings of the decision, as a bundle carries them.

    Attributes:
        temperature: probabilities are raised to 1 / temperature and renormalised.
        abstain_below: calibrated confidence under which the verdict is inconclusive, 0-1.
        gate: domain gate, or None when the model was not given one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(1.0, gt=0)
    abstain_below: float = Field(0.0, ge=0, le=1)
    gate: DomainGate | None = None


def gate_input(embeddings: Array, tiles: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """[n, d + 6]: embeddings [n, d] and the `stain_figures` of their tiles uint8 [S, S, 3 or more], RGB first.

    A network taught to see through stains says little about them; another laboratory's fields differ in colour first.
    The colour of the lamp must not count: a bulb that has aged is no other laboratory.
    """
    return gate_figures(embeddings, np.stack([stain_figures(tile) for tile in tiles]))


def gate_figures(embeddings: Array, stains: Array) -> NDArray[np.float64]:
    """[n, d + 6] what the gate measures, of embeddings [n, d] and `stain_figures` [n, 6].

    An embedding wider than `WIDEST` (a plain head's: all channels of the last map) is averaged over neighbouring
    numbers to so many: a matrix over 1,280 channels would be sixteen megabytes of text in every bundle.
    """
    wide = np.asarray(embeddings, np.float64)
    if wide.shape[1] > WIDEST:
        edges = np.linspace(0, wide.shape[1], WIDEST + 1).astype(int)
        wide = np.add.reduceat(wide, edges[:-1], axis=1) / np.diff(edges)
    return np.concatenate([wide, stains], axis=1)


def gate_width(embedding: int) -> int:
    """How many numbers `gate_figures` makes of an embedding of so many."""
    return min(embedding, WIDEST) + FIGURES


def apply_temperature(probabilities: Array, temperature: float) -> NDArray[np.float64]:
    """[n, classes] probabilities softened (temperature > 1) or sharpened (< 1); rows sum to 1 (Guo et al. 2017)."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY)) / temperature
    power = np.exp(logits - logits.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


def fit_calibration(probabilities: Array, distances: Array | None, truth: NDArray[np.integer[Any]],
                    gate: DomainGate | None) -> Calibration:
    """Choose temperature, abstention threshold and the gate's threshold on held-out rows.

    Args:
        probabilities: [n, classes], uncalibrated.
        distances: [n] from the gate; None without one.
        truth: [n] class indices.
        gate: fitted without these rows; only its threshold is set here.
    """
    temperature = _fit_temperature(probabilities, truth)
    calibrated = apply_temperature(probabilities, temperature)
    if gate is not None and distances is not None:
        reach = float(np.quantile(distances, GATE_QUANTILE))
        gate = gate.model_copy(update={"threshold": max(reach, _TINY)})
    return Calibration(temperature=temperature, abstain_below=_fit_abstention(calibrated, truth), gate=gate)


def fit_gate(measured: Array, truth: NDArray[np.integer[Any]]) -> DomainGate:
    """Class means and shrunk shared covariance of [n, d] training rows of `gate_input`; threshold at their quantile.

    Shrinking towards the diagonal lets every figure keep its own unit, and no direction count for more than the square
    root of ten times what it would alone.
    """
    classes = np.unique(truth)
    means = np.stack([measured[truth == c].mean(0) for c in classes]).astype(np.float64)
    centred = measured - means[np.searchsorted(classes, truth)]
    covariance = centred.T @ centred / len(truth)
    own = np.maximum(np.diag(covariance), _TINY)
    whiten = np.linalg.cholesky(np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(own)))
    gate = DomainGate(means=_plain(means), whiten=_plain(whiten), threshold=1.0)
    reach = float(np.quantile(gate.distance(measured), GATE_QUANTILE))
    return gate.model_copy(update={"threshold": max(reach, _TINY)})


def answered(probabilities: Array, measured: Array, calibration: Calibration) -> NDArray[np.bool_]:
    """[n], False where calibrated confidence or the domain gate make the verdict inconclusive."""
    confident = probabilities.max(1) >= calibration.abstain_below
    if calibration.gate is None:
        return confident
    return confident & (calibration.gate.distance(measured) <= calibration.gate.threshold)


def _plain(matrix: NDArray[np.float64]) -> list[list[float]]:
    """Seven significant digits, as float32 has: a manifest carries the numbers as text."""
    return [[float(f"{value:.7g}") for value in row] for row in matrix]


def _fit_temperature(probabilities: Array, truth: NDArray[np.integer[Any]]) -> float:
    """The temperature of least negative log-likelihood on a grid: convex in 1 / T, so a grid is enough."""
    rows = np.arange(len(truth))
    loss = [-np.log(apply_temperature(probabilities, t)[rows, truth] + _TINY).mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(loss))])


def _fit_abstention(calibrated: Array, truth: NDArray[np.integer[Any]]) -> float:
    """Lowest confidence from `LEAST_CONFIDENCE` up that meets the aim.

    At most one that abstains on `MAX_ABSTAINED` of the rows, but never one below `MORE_LIKELY_RIGHT`.
    """
    confidence = calibrated.max(1)
    right = calibrated.argmax(1) == truth
    limit = max(float(np.quantile(confidence, MAX_ABSTAINED)), MORE_LIKELY_RIGHT)
    least = min(LEAST_CONFIDENCE, limit)
    for threshold in np.unique(np.append(confidence[(confidence >= least) & (confidence <= limit)], least)):
        answered_right = right[confidence >= threshold]
        if answered_right.size and answered_right.mean() >= ANSWERED_ACCURACY:
            return float(threshold)
    return limit
