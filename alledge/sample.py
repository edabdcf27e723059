"""What the fields of one slide came to together, and what a slide may be called.

A sample is numbered (`S-0001`) or entered, by hand or from a barcode. Nobody is ever asked for a patient's name, and
an id that reads like a name or a date of birth is refused: results are kept, shown and sent on, and none of that is a
place for people.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alledge.errors import UsageError
from alledge.labels import INCONCLUSIVE
from alledge.verdict import Outcome

LONGEST = 24  # characters; an accession number has about ten
MOST_LETTERS = 3  # in a row: prefixes of laboratories are short, names mostly are not
EXAMPLE = "S-0001"
_SHAPE = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)*")
_NAME = re.compile(rf"[A-Z]{{{MOST_LETTERS + 1}}}")
_DATE = re.compile(r"(?<!\d)(\d{4}-\d{1,2}-\d{1,2}|\d{1,2}-\d{1,2}-\d{4})(?!\d)")
_NUMBERED = re.compile(r"S-(\d{4,9})")


@dataclass(frozen=True)
class SampleVerdict(Outcome):
    """The outcome for one sample: as many fields of one slide as were judged so far.

    Attributes:
        sample: its id.
        verdict: a class label, or "inconclusive".
        confidence: pooled probability of the most likely class, 0-1 (0 while no field is conclusive).
        probabilities: label -> pooled probability over the conclusive fields; empty while there is none.
        reasons: why the verdict is inconclusive, one sentence each; empty otherwise.
        votes: label, and "inconclusive" -> how many fields had that verdict.
        doubts: why fields were inconclusive, in few words ("out of focus") -> how many fields; a field may count twice.
        missing: how many more conclusive fields it takes at least; 0 when there are enough.
        faults: names of the machine's faults under which any of the fields was made.
        began_at, ended_at: when the first and the last field were taken.
        bundle_id, caveat: of the bundle that judged the fields; empty, and inconclusive, when there were several.
    """

    sample: str
    verdict: str
    confidence: float
    probabilities: Mapping[str, float]
    reasons: tuple[str, ...] = ()
    votes: Mapping[str, int] = field(default_factory=dict)
    doubts: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    faults: tuple[str, ...] = ()
    began_at: str = ""
    ended_at: str = ""
    bundle_id: str = ""
    caveat: str = ""

    @property
    def fields(self) -> int:
        """How many fields were judged."""
        return sum(self.votes.values())

    @property
    def answered(self) -> int:
        """How many of them had a conclusive verdict."""
        return self.fields - self.votes.get(INCONCLUSIVE, 0)

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return {**asdict(self), "reasons": list(self.reasons), "faults": list(self.faults),
                "fields": self.fields, "answered": self.answered}


def check_sample_id(text: str) -> str:
    """The id as it is kept: capital letters, digits and single hyphens, at most `LONGEST` characters, with a digit.

    Small letters become capitals, so that one slide is not two samples.

    Raises:
        UsageError: for anything else, and for what reads like a name (more than `MOST_LETTERS` letters in a row) or a
            date. The message does not repeat what was entered: it may be a name.
    """
    name = text.strip().upper()
    if not name or len(name) > LONGEST:
        raise _refused(f"1 to {LONGEST} characters", f"{len(name)}")
    if not _SHAPE.fullmatch(name) or not re.search(r"\d", name):
        raise _refused("letters A-Z, digits and single hyphens between them, at least one digit", "something else")
    if _NAME.search(name):
        raise _refused(f"at most {MOST_LETTERS} letters in a row", "more, which may be a name")
    if _DATE.search(name):
        raise _refused("a number of the slide", "what may be a date of birth")
    return name


def next_sample_id(known: Iterable[str]) -> str:
    """The number after the highest of those known: `S-0001`, `S-0002` ... (ids that were entered do not count)."""
    numbers = [int(found[1]) for name in known if (found := _NUMBERED.fullmatch(name))]
    return f"S-{max(numbers, default=0) + 1:04d}"


def _refused(expected: str, received: str) -> UsageError:
    return UsageError(f"sample id: expected {expected}, received {received}; use the slide's number, e.g. {EXAMPLE}, "
                      "never a patient's name or date of birth")
