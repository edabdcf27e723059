"""Who was called what: one CSV row per test image, so that any figure can be recomputed and any case looked up."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Item
from alledge.errors import UsageError
from alledge.labels import LABELS

PREDICTIONS = "predictions.csv"


def write_predictions(path: Path, items: Sequence[Item], probabilities: NDArray[np.float64],
                      sure: NDArray[np.bool_]) -> None:
    """Write file, md5, truth, answered (0/1) and the four calibrated probabilities of each image.

    Raises:
        UsageError: when the file cannot be written.
    """
    try:
        _write(path, items, probabilities, sure)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose a folder that you own") from error


def read_predictions(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Probabilities [n, 4], true class indices [n] and answered [n], in file order."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    probabilities = np.array([[float(r[label]) for label in LABELS] for r in rows])
    return (probabilities, np.array([LABELS.index(r["label"]) for r in rows], np.int64),
            np.array([r["answered"] == "1" for r in rows]))


def read_column(path: Path, name: str) -> list[str]:
    """One column as text (`file`, `md5`), in file order."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file)]


def _write(path: Path, items: Sequence[Item], probabilities: NDArray[np.float64], sure: NDArray[np.bool_]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file", "md5", "label", "answered", *LABELS])
        for item, row, answer in zip(items, probabilities, sure, strict=True):
            name = f"{item.path.parent.name}/{item.path.name}"
            out.writerow([name, item.md5, item.label, int(answer), *(f"{p:.6f}" for p in row)])

