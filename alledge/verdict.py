"""What one field of view came to, with everything needed to show, log and defend it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alledge.labels import INCONCLUSIVE, TITLES

RESEARCH_USE_ONLY = "RESEARCH USE ONLY"
GATE_NOT_MET = "GATE NOT MET"  # the bundle lost more in conversion than is allowed, and was accepted all the same


class Outcome:
    """What the outcomes of a field and of a sample have in common. verdict: a class label, or "inconclusive"."""

    verdict: str

    @property
    def title(self) -> str:
        """The verdict as written on a screen, e.g. "Early Pre-B"."""
        return TITLES[self.verdict]

    @property
    def conclusive(self) -> bool:
        """False when it must not be read as any of the classes."""
        return self.verdict != INCONCLUSIVE


@dataclass(frozen=True)
class Note:
    """What an operator added to a stored result, a row of the results database like it.

    Attributes:
        sequence, software, boot_id, uptime_s, hash: its own, as a result has them.
        note_on: number of the result.
        text: as `alledge.note.check_note` lets it pass. Never a patient's name or number.
        written_at: UTC, from a clock that may be wrong.
    """

    sequence: int
    note_on: int
    text: str
    written_at: str = ""
    software: str = ""
    boot_id: str = ""
    uptime_s: float = 0.0
    hash: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return dict(vars(self))


@dataclass(frozen=True)
class Verdict(Outcome):
    """The outcome for one field.

    Attributes:
        verdict: a class label, or "inconclusive".
        confidence: calibrated probability of the most likely class, 0-1 (0 when the engine gave none).
        probabilities: label -> calibrated probability; empty when the engine gave none that are finite.
        reasons: why the verdict is inconclusive, one sentence each; empty otherwise.
        quality: measured quality figures of the frame (units in `alledge.device.quality`).
        coverage: share of the field inside the segmentation mask, 0-1.
        timings_ms: stage -> milliseconds (capture, segment, infer, display, log, total).
        faults: names of the machine's faults while it was made (`alledge.device.faults`), e.g. that a CPU stood in for
            the accelerator; mostly empty.
        caveat: what has to be said beside every verdict of this bundle, e.g. `GATE_NOT_MET`; mostly empty.
        sample: the slide it belongs to; empty when fields stand alone. Never a patient's name or number.
        gates: what the decision was held against: `confidence_least`; of the domain gate `distance` and
            `distance_most`; of its sample `fields_least`, conclusive fields that it takes.
        camera: what the camera said of the frame (exposure, gains ...), as text.
        note: what the operator wanted kept beside every field, as configured. Never a patient's name or number.
        notes: what operators added to this one later, in that order; read from rows of their own.
        frame_sha256, mask_sha256: of the archived files; empty without an archive.
        software, boot_id, uptime_s, hash: set by the results database: the version of alledge that kept it, the
            start of the machine (a random id) and the seconds since then, which no clock setting can change, and the
            row's link in the chain.
    """

    verdict: str
    confidence: float
    probabilities: Mapping[str, float]
    reasons: tuple[str, ...] = ()
    quality: Mapping[str, float] = field(default_factory=dict)
    coverage: float = 0.0
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    sequence: int = 0
    taken_at: str = ""
    engine: str = ""
    bundle_id: str = ""
    source: str = ""
    caveat: str = ""
    faults: tuple[str, ...] = ()
    sample: str = ""
    gates: Mapping[str, float] = field(default_factory=dict)
    camera: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    frame_sha256: str = ""
    mask_sha256: str = ""
    software: str = ""
    boot_id: str = ""
    uptime_s: float = 0.0
    hash: str = ""
    notes: tuple[Note, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        plain = {name: _plain(value) for name, value in vars(self).items()}
        return {**plain, "notes": [note.to_json() for note in self.notes]} if self.notes else plain


def _plain(value: Any) -> Any:
    """`dataclasses.asdict` would copy every figure: half of the time that storing a result takes."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
