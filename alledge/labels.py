"""The four classes of the Taleghani data set, in the one order used everywhere, and which are malignant."""

import re

LABELS = ("benign", "early_pre_b", "pre_b", "pro_b")
MALIGNANT = frozenset(LABELS[1:])
INCONCLUSIVE = "inconclusive"

TITLES = {
    "benign": "Benign",
    "early_pre_b": "Early Pre-B",
    "pre_b": "Pre-B",
    "pro_b": "Pro-B",
    INCONCLUSIVE: "Inconclusive",
}

# Folder names under which copies of the data set are in circulation, after `_fold` below.
_ALIASES = {
    "benign": "benign",
    "early": "early_pre_b",
    "earlypreb": "early_pre_b",
    "pre": "pre_b",
    "preb": "pre_b",
    "pro": "pro_b",
    "prob": "pro_b",
}


def _fold(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower().replace("[malignant]", ""))


def find_label(name: str) -> str | None:
    """The label a class-folder name stands for (`Early`, `[Malignant] early Pre-B` ...), or None."""
    return _ALIASES.get(_fold(name))
