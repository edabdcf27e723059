"""Several fields of one slide to one verdict: the mean of what the conclusive fields said. Pure.

Chosen on out-of-fold predictions (docs/results/samples.md, decision 015): the mean calls as many right as a majority
and knows better when it does not know; products of probabilities are worse, because fields of one slide err together.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from alledge.labels import INCONCLUSIVE, LABELS, TITLES
from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

LEAST_FIELDS = 5  # conclusive ones; with fewer, one field is too large a share of a slide
LEAST_MEAN = 0.85  # of the leading class: five fields must be of one mind, twenty may have two that are not


def pool(sample: str, fields: Sequence[Verdict], least: int = LEAST_FIELDS) -> SampleVerdict:
    """What the fields of a sample came to, so far.

    Args:
        sample: its id.
        fields: in the order they were taken.
        least: how many conclusive fields it takes.

    Returns:
        a verdict; inconclusive with its reasons when fields are too few, disagree, or are of several bundles.
    """
    conclusive = [field for field in fields if field.conclusive]
    means = {label: sum(field.probabilities.get(label, 0.0) for field in conclusive) / len(conclusive)
             for label in LABELS} if conclusive else {}
    leading = max(means, key=lambda label: means[label]) if means else INCONCLUSIVE
    bundles = _distinct(field.bundle_id for field in fields)
    missing = max(0, least - len(conclusive))
    votes = Counter(field.verdict for field in fields)
    reasons = tuple(_reasons(means.get(leading, 0.0), votes, missing, len(conclusive), bundles))
    return SampleVerdict(
        sample=sample,
        verdict=INCONCLUSIVE if reasons else leading,
        confidence=means.get(leading, 0.0),
        probabilities=means,
        reasons=reasons,
        votes=dict(votes),
        doubts=dict(Counter(doubt for field in fields for doubt in _distinct(map(_in_few_words, field.reasons)))),
        missing=missing,
        faults=_distinct(name for field in fields for name in field.faults),
        began_at=fields[0].taken_at if fields else "",
        ended_at=fields[-1].taken_at if fields else "",
        bundle_id=bundles[0] if len(bundles) == 1 else "",
        caveat=", ".join(_distinct(field.caveat for field in fields if field.caveat)),
    )


def _reasons(mean: float, votes: Counter[str], missing: int, conclusive: int,
             bundles: Sequence[str]) -> Iterable[str]:
    if len(bundles) > 1:
        yield f"its fields were judged by {len(bundles)} bundles: take the sample again with one"
    if missing:
        yield f"too few fields: {conclusive} with a verdict of at least {conclusive + missing}, take {missing} more"
    elif not mean >= LEAST_MEAN:
        counts = ", ".join(f"{TITLES[label]} {votes[label]}" for label in LABELS if votes[label])
        yield f"the fields disagree ({counts}): take more fields or look at the slide"


def _in_few_words(reason: str) -> str:
    """A reason up to where it becomes a sentence of its own: "out of focus"."""
    return reason.partition(":")[0]


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
