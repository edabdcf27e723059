"""How accuracy and coverage fall as fields get worse: the same images, every disturbance, every level."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Item
from alledge.images import read_image
from alledge.judge import Judge
from alledge.labels import LABELS, MALIGNANT
from alledge.metrics import wilson
from alledge.perturb import PERTURBATIONS, Perturbation

STEPS = sum(len(p.levels) for p in PERTURBATIONS)
_SEED = 7

Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


@dataclass(frozen=True)
class Level:
    """One perturbation at one level over all images; shares 0-1 with Wilson's 95 % interval.

    Attributes:
        perturbation, level, unit: see `Perturbation`; `none` at 0 is the clean images.
        missed: malignant images that were answered, and answered benign.
    """

    perturbation: str
    level: float
    unit: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    answered: float
    answered_ci95: tuple[float, float]
    accuracy_when_answered: float | None
    accuracy_when_answered_ci95: tuple[float, float] | None
    missed: int

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def sweep(judge: Judge, items: Sequence[Item], clean: Answers,
          on_level: Callable[[], None] = lambda: None) -> list[Level]:
    """Judge every image under every perturbation.

    Args:
        judge: a run or a bundle.
        items: labelled images.
        clean: what the judge answers to them undisturbed.
        on_level: called after each of `STEPS` levels.

    Returns:
        the clean level first, then each perturbation's from mild to severe.
    """
    truth = np.array([item.index for item in items], np.int64)
    donors = _donors(truth)
    levels = [_level("none", 0.0, "", truth, clean)]
    for perturbation in PERTURBATIONS:
        for level in perturbation.levels:
            answers = judge(_changed(items, donors, perturbation, level))
            levels.append(_level(perturbation.name, level, perturbation.unit, truth, answers))
            on_level()
    return levels


def _changed(items: Sequence[Item], donors: NDArray[np.int64], perturbation: Perturbation,
             level: float) -> Iterator[NDArray[np.uint8]]:
    """Each image changed; the same random stream for an image whatever the level, so that levels compare."""
    for i, item in enumerate(items):
        donor = read_image(items[donors[i]].path, halve=True)
        yield perturbation.change(read_image(item.path, halve=True), level, donor, np.random.default_rng((_SEED, i)))


def _donors(truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n] for each image one of another class, so that a borrowed stain always speaks against the truth."""
    random = np.random.default_rng(_SEED)
    rows = np.arange(len(truth))
    others = {c: rows[truth != c] if (truth != c).any() else rows for c in np.unique(truth)}
    return np.array([random.choice(others[c]) for c in truth], np.int64)


def _level(name: str, level: float, unit: str, truth: NDArray[np.int64], answers: Answers) -> Level:
    probabilities, answered = answers
    guess = probabilities.argmax(1)
    right = guess == truth
    malignant = np.array([label in MALIGNANT for label in LABELS])
    n, kept, right_when_kept = len(truth), int(answered.sum()), int((right & answered).sum())
    return Level(
        name, level, unit, n,
        float(right.mean()), wilson(int(right.sum()), n),
        kept / n, wilson(kept, n),
        right_when_kept / kept if kept else None, wilson(right_when_kept, kept) if kept else None,
        int((malignant[truth] & ~malignant[guess] & answered).sum()),
    )
