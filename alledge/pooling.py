"""Several fields of one slide to one verdict: the mean of what the conclusive fields said. Pure.

Majority, mean and product of probabilities call the same slides right, within what the data can show
(docs/results/samples.md). The mean is a probability of its own and shows disagreement; a product would be certain
whatever it says, because fields of one slide share stain, focus and mistakes (decision 015).
"""

from collections import Counter
from collections.abc import Iterable

from alledge.labels import INCONCLUSIVE, LABELS, TITLES
from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

LEAST_GATE = "fields_least"  # of a field's gates: how many conclusive fields its sample takes
LEAST_FIELDS = 5  # where that is not said; conclusive ones; with fewer, one field is too large a share of a slide
LEAST_MEAN = 0.85  # of the leading class: five fields must be of one mind, twenty may have two that are not


class Pool:
    """A sample as its fields come in; what it keeps does not grow with them.

    How many conclusive fields it takes, its latest field says: so a screen and every later report come to the same.
    """

    def __init__(self, sample: str) -> None:
        self._sample, self._least = sample, LEAST_FIELDS
        self._sums = dict.fromkeys(LABELS, 0.0)
        self._votes, self._doubts = Counter[str](), Counter[str]()
        self._times: list[str] = []  # of the first and the last field
        self._bundles, self._faults, self._caveats = dict[str, None](), dict[str, None](), dict[str, None]()

    @property
    def fields(self) -> int:
        """How many have been added."""
        return self._votes.total()

    def add(self, field: Verdict) -> None:
        """One more field of the slide."""
        self._least = int(field.gates.get(LEAST_GATE, LEAST_FIELDS))
        self._votes[field.verdict] += 1
        self._doubts.update(dict.fromkeys(map(_in_few_words, field.reasons), 1))
        self._times = [*self._times[:1], field.taken_at]
        self._bundles[field.bundle_id] = None
        self._faults.update(dict.fromkeys(field.faults))
        self._caveats.update(dict.fromkeys([field.caveat] if field.caveat else []))
        if field.conclusive:
            for label in LABELS:
                self._sums[label] += field.probabilities.get(label, 0.0)

    def verdict(self) -> SampleVerdict:
        """What they came to; inconclusive with its reasons when they are too few, disagree, or are of two bundles."""
        conclusive = self.fields - self._votes[INCONCLUSIVE]
        means = {label: total / conclusive for label, total in self._sums.items()} if conclusive else {}
        leading = max(means, key=lambda label: means[label]) if means else INCONCLUSIVE
        reasons = tuple(self._reasons(means.get(leading, 0.0), conclusive))
        return SampleVerdict(
            sample=self._sample,
            verdict=INCONCLUSIVE if reasons else leading,
            confidence=means.get(leading, 0.0),
            probabilities=means,
            reasons=reasons,
            votes=dict(self._votes),
            doubts=dict(self._doubts),
            missing=max(0, self._least - conclusive),
            faults=tuple(self._faults),
            began_at=self._times[0] if self._times else "",
            ended_at=self._times[-1] if self._times else "",
            bundle_id=next(iter(self._bundles)) if len(self._bundles) == 1 else "",
            caveat=", ".join(self._caveats),
        )

    def _reasons(self, mean: float, conclusive: int) -> Iterable[str]:
        if len(self._bundles) > 1:
            yield f"its fields were judged by {len(self._bundles)} bundles: take the sample again with one"
        if conclusive < self._least:
            yield (f"too few fields: {conclusive} with a verdict of at least {self._least}, "
                   f"take {self._least - conclusive} more")
        elif 2 * conclusive < self.fields:
            yield (f"only {conclusive} of {self.fields} fields had a verdict: see to what the others lack, and take "
                   "the sample again")
        elif not mean >= LEAST_MEAN:
            counts = ", ".join(f"{TITLES[label]} {self._votes[label]}" for label in LABELS if self._votes[label])
            yield f"the fields disagree ({counts}): take more fields or look at the slide"


def pool(sample: str, fields: Iterable[Verdict]) -> SampleVerdict:
    """What fields come to, in the order they were taken."""
    gathered = Pool(sample)
    for field in fields:
        gathered.add(field)
    return gathered.verdict()


def _in_few_words(reason: str) -> str:
    """A reason up to where it becomes a sentence of its own: "out of focus"."""
    return reason.partition(":")[0]
