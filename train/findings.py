"""What a run's figures say in words, for the report and for the model card alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.dataset import SUBSETS, Item
from alledge.labels import LABELS
from alledge.runfolder import TrainingRecord

LEAKY = "leaky"  # how the name of a protocol that is meant to leak begins
FEW_GROUPS = 20  # below, even an interval drawn from whole groups is too narrow


@dataclass(frozen=True)
class Judged:
    """Test images and what became of them: probabilities [n, 4], truth [n], answered [n], file names [n]."""

    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    answered: NDArray[np.bool_]
    names: Sequence[str]

    @property
    def guess(self) -> NDArray[np.int64]:
        """[n] most likely class."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """[n] its probability."""
        return np.asarray(self.probabilities.max(1))

    @property
    def right(self) -> NDArray[np.bool_]:
        """[n] whether it is the true one."""
        return np.asarray(self.guess == self.truth)


@dataclass(frozen=True)
class Confusion:
    """How many images of one class were called another, and how many of those verdicts were withheld."""

    truth: int
    called: int
    n: int
    withheld: int


def confusions(judged: Judged) -> list[Confusion]:
    """Every confusion that happened, the most frequent first."""
    found = []
    for truth in range(len(LABELS)):
        for called in range(len(LABELS)):
            cases = (judged.truth == truth) & (judged.guess == called)
            if truth != called and cases.any():
                found.append(Confusion(truth, called, int(cases.sum()), int((cases & ~judged.answered).sum())))
    return sorted(found, key=lambda c: -c.n)


def composition(items: Mapping[str, Sequence[Item]]) -> dict[str, Any]:
    """Who is in which subset, and what keeps the subsets apart: for the provenance of a run.

    Returns:
        `per_class`: subset -> label -> images; `groups`: subset -> number of groups, None where the split names none;
        `cut_groups`: groups that have images in more than one subset.
    """
    named = any(item.columns.get("group") for rows in items.values() for item in rows)
    groups = {name: {item.group for item in items[name]} for name in SUBSETS}
    homes = [sum(group in members for members in groups.values()) for group in set().union(*groups.values())]
    return {
        "per_class": {name: {label: sum(i.label == label for i in items[name]) for label in LABELS}
                      for name in SUBSETS},
        "groups": {name: len(members) for name, members in groups.items()} if named else None,
        "cut_groups": sum(home > 1 for home in homes),
    }


def lead(m: Mapping[str, Any]) -> str:
    """The run in two sentences, for a person who is no programmer; a warning goes before them."""
    return f"{unlearned(m)} {_told(m)}".strip()


def _told(m: Mapping[str, Any]) -> str:
    answered = m["n"] - m["abstained"]
    if not answered:
        return f"Of {m['n']} images it had never seen, this network answered none: all were inconclusive."
    missed = m["malignant"]["missed"]
    told = {0: "No malignant image was", 1: "One malignant image was"}.get(missed, f"{missed} malignant images were")
    unseen = m["per_class"]["benign"]["n"] and not m["malignant"]["specificity"]
    benign = ", and no benign one recognised" if unseen else ""
    return (f"Of {m['n']} images it had never seen, this network answered {percent(answered / m['n'])} and was right "
            f"on {percent(m['accuracy_when_answered'])} of those {interval(m, 'accuracy_when_answered')}. {told} "
            f"answered as benign{benign}.")


def unlearned(m: Mapping[str, Any]) -> str:
    """A warning where a network is no better than one that always names the commonest class; else ""."""
    commonest = max(scores["n"] for scores in m["per_class"].values()) / m["n"]
    low, _ = m.get("accuracy_group_ci95") or m["accuracy_ci95"]
    if low > commonest:
        return ""
    return (f"This network has not been shown to have learned anything: it is right on {percent(m['accuracy'])} "
            f"{interval(m, 'accuracy')}, and always naming the commonest class would be right on {percent(commonest)}. "
            "Its answers mean nothing.")


def proves(record: TrainingRecord) -> list[str]:
    """What the figures may be taken for: disjointness, colour, number of groups. A sentence or two each."""
    return [disjointness(record), _beside_colour(record.metrics), _independence(record.metrics),
            "One laboratory's images say nothing about another laboratory, stain, microscope or patient group."]


def disjointness(record: TrainingRecord) -> str:
    """At which level the subsets have nothing in common (CLAIM item 21)."""
    if str(record.provenance.get("protocol")).startswith(LEAKY):
        return ("Segmented twins and varied copies of the test images were trained on, which this run is there to "
                "show: its figures say nothing about new images.")
    made_of = record.provenance.get("composition")
    if made_of is None:
        return "How far training, validation and test images are disjoint was not recorded for this run."
    if made_of["cut_groups"]:
        return (f"{made_of['cut_groups']} groups of images stand in more than one subset: near-twins of test images "
                "were trained on, and the figures are optimistic.")
    if made_of["groups"] is None:
        return ("Training, validation and test share no file. Whether they share slides or patients is not known: the "
                "split names no groups, so the figures may be optimistic.")
    return ("Training, validation and test share no file and no group of the split. Whether a group is a patient, a "
            "slide or a stain, only the maker of the split knows.")


def _beside_colour(m: Mapping[str, Any]) -> str:
    baseline, (low, _) = m["baseline_histogram_accuracy"], m.get("accuracy_group_ci95") or m["accuracy_ci95"]
    if baseline is None:
        return "What colour alone would reach was not measured here."
    if baseline >= low:
        return (f"Colour alone reaches {percent(baseline)}, which is not below the interval of this network's accuracy "
                f"{interval(m, 'accuracy')}: it has not been shown to see more than colour.")
    return (f"Colour alone reaches {percent(baseline)}, which is below the whole interval of this network's accuracy "
            f"{interval(m, 'accuracy')}.")


def _independence(m: Mapping[str, Any]) -> str:
    if not m.get("groups"):
        return ("Intervals treat images as independent. Where several come from one slide they are not, and the "
                "intervals are too narrow.")
    few = " That is few: the true uncertainty is larger still." if m["groups"] < FEW_GROUPS else ""
    return ("Intervals allow for images of one group resembling each other: whole groups were drawn for them. The test "
            f"rows hold {m['groups']} groups.{few}")


def share(scores: Mapping[str, Any], name: str) -> str:
    """A share with its interval, or "no case"."""
    return percent(scores[name]) if scores[name] is None else f"{percent(scores[name])} {interval(scores, name)}"


def interval(scores: Mapping[str, Any], name: str, form: str = ".1%") -> str:
    """The widest honest interval there is of a figure: over groups where it exists; empty when there is none."""
    bounds = scores.get(f"{name}_group_ci95") or scores.get(f"{name}_ci95")
    return "" if bounds is None else f"({bounds[0]:{form}} to {bounds[1]:{form}})"


def certainty(p: float) -> str:
    """A probability in whole per cent; one that would round to all or nothing is not called that."""
    return ">99%" if p >= 0.995 else "<1%" if p < 0.005 else f"{p:.0%}"


def percent(value: float | None) -> str:
    """As people write it, or "no case"."""
    return "no case" if value is None else f"{value:.1%}"
