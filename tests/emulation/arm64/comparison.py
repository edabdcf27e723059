"""Two machines' answers to the same fields: what is the same bit for bit, and how far apart the rest is."""

from dataclasses import dataclass

import numpy as np
from replay import Answers

EXACT_ENGINES = ("tflite (XNNPACK)",)  # integer arithmetic: equal bytes are demanded, not a tolerance
COUNTED = ("frames", "masks", "tensors", "probs", "embeddings", "verdicts")


@dataclass(frozen=True)
class Comparison:
    """Of n fields, how many came out equal there; what is not equal is counted, never passed by.

    Attributes:
        bundle: id; engine: what ran it on both machines; fields: n.
        goldens, golden_faults: replayed there, and those that did not come out.
        frames, masks, tensors, probs, embeddings, verdicts: fields equal in every bit (verdicts: every word).
        refused: fields whose answer the engine's own check did not believe there.
        apart: largest difference of one probability, of an embedding's number; tolerance: accepted of a probability.
    """

    bundle: str
    engine: str
    fields: int
    goldens: int
    golden_faults: int
    frames: int
    masks: int
    tensors: int
    probs: int
    embeddings: int
    verdicts: int
    refused: int
    apart: float
    embeddings_apart: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Goldens come out, sight and verdicts are equal, probabilities equal or (float engines) within tolerance."""
        seen = self.frames == self.masks == self.tensors == self.verdicts == self.fields
        same = self.probs == self.fields if self.engine in EXACT_ENGINES else self.apart <= self.tolerance
        return bool(self.fields and self.goldens and not self.golden_faults and seen and same)


def compare(here: Answers, there: Answers) -> Comparison:
    """Hold one machine's answers against another's.

    Raises:
        ValueError: when they are not answers of one bundle on one engine to equally many fields.
    """
    for what in ("bundle", "engine", "goldens"):
        _demand_same(what, getattr(here, what), getattr(there, what))
    pairs = {what: (getattr(here, what), getattr(there, what)) for what in COUNTED}
    for what, (mine, theirs) in pairs.items():
        _demand_same(f"shape of {what}", mine.shape, theirs.shape)
    return Comparison(
        bundle=here.bundle, engine=here.engine, fields=len(here.frames), goldens=there.goldens,
        golden_faults=len(there.faults), refused=int(np.isnan(there.probs).any(1).sum()),
        apart=_apart(*pairs["probs"]), embeddings_apart=_apart(*pairs["embeddings"]),
        tolerance=here.tolerance, **{what: _equal(*pair) for what, pair in pairs.items()})


def _demand_same(what: str, here: object, there: object) -> None:
    if here != there:
        raise ValueError(f"{what}: {here} here, {there} there; nothing to compare")


def _equal(here: np.ndarray, there: np.ndarray) -> int:
    """Rows that are equal in every bit, so that NaN equals itself and 0 is not -0."""
    return sum(a.tobytes() == b.tobytes() for a, b in zip(here, there, strict=True))


def _apart(here: np.ndarray, there: np.ndarray) -> float:
    """Largest difference of one number; none where both answers were refused, infinite where one was."""
    differences = np.abs(here.astype(np.float64) - there.astype(np.float64))
    differences[np.isnan(here) & np.isnan(there)] = 0
    return float(np.where(np.isnan(differences), np.inf, differences).max(initial=0.0))
