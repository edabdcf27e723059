"""Cross-validation over the folds of a split: one run per fold, pooled figures, resumable after interruption."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alledge.dataset import FOLD_COLUMNS, WHOLE_GROUPS, Dataset, cut_groups, fold_names, hold_out
from alledge.errors import DataError
from alledge.files import write_bytes
from alledge.metrics import score
from alledge.output import Progress
from alledge.predictions import PREDICTIONS, read_column, read_predictions
from alledge.runfolder import is_run, read_record

from .fit import train
from .options import Options

SUMMARY = "crossval.json"


@dataclass(frozen=True)
class Fold:
    """One finished fold: its name, its run folder and two figures of its test rows."""

    name: str
    run: str
    n: int
    accuracy: float
    baseline_histogram_accuracy: float


def cross_validate(dataset: Dataset, folds: str, out: Path, options: Options,
                   progress: Progress) -> dict[str, Any]:
    """Train one run per fold below `out`, skip those already complete, pool the test rows of all.

    Raises:
        DataError: when `group` or `family` folds cut a group, or a finished fold in `out` was made with other options
            or another split.
    """
    cut = _cut(dataset, folds, progress)
    done = []
    for name in fold_names(dataset, folds):
        run = out / f"{folds}-{name}"
        held_out = hold_out(dataset, folds, name)
        if is_run(run):
            check_same(run, held_out, options)
            progress.say(f"fold {name}: complete already, kept")
        else:
            progress.say(f"fold {name}: training")
            train(held_out, run, options, progress)
        record = read_record(run)
        done.append(Fold(name, run.name, record.metrics["n"], record.metrics["accuracy"],
                         record.metrics["baseline_histogram_accuracy"]))
    return _pool(out, folds, cut, done, options, {i.md5: i.group for i in dataset.items})


def _cut(dataset: Dataset, folds: str, progress: Progress) -> int:
    """How many groups the folds cut."""
    cut = cut_groups(dataset, folds)
    if cut and folds in WHOLE_GROUPS:
        raise DataError(f"--folds {folds} leaks: {cut[0]}; column {FOLD_COLUMNS[folds]!r} must give every field of a "
                        f"group the same value, and cuts {len(cut)} groups")
    if cut:
        progress.say(f"warning: --folds {folds} cuts {len(cut)} groups ({cut[0]}): near-twins of test images are "
                     "trained on, so the figures are optimistic")
    return len(cut)


def check_same(run: Path, dataset: Dataset, options: Options) -> None:
    """Refuse to take a finished run for another one.

    Raises:
        DataError: when it was made with other options or another split.
    """
    record = read_record(run)
    if record.options != asdict(options) or record.provenance["split_sha256"] != dataset.split_sha256:
        raise DataError(f"{run}: holds a run with other options or another split; choose another --out")


def _pool(out: Path, folds: str, cut: int, done: list[Fold], options: Options,
          group_of: Mapping[str, str]) -> dict[str, Any]:
    parts = [read_predictions(out / fold.run / PREDICTIONS) for fold in done]
    probabilities, truth, sure = (np.concatenate(column) for column in zip(*parts, strict=True))
    groups = [group_of[md5] for fold in done for md5 in read_column(out / fold.run / PREDICTIONS, "md5")]
    sizes = [fold.n for fold in done]
    summary = {
        "folds": folds,
        "cut_groups": cut,
        **score(probabilities, truth, sure, groups).to_json(),
        "baseline_histogram_accuracy": float(np.average([f.baseline_histogram_accuracy for f in done], weights=sizes)),
        "runs": [asdict(fold) for fold in done],
        "options": asdict(options),
    }
    _write_pooled(out, done)
    write_bytes(out / SUMMARY, json.dumps(summary, indent=1).encode())
    return summary


def _write_pooled(out: Path, done: list[Fold]) -> None:
    """All test rows of all folds in one CSV, with the fold they belong to."""
    with (out / PREDICTIONS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for i, fold in enumerate(done):
            with (out / fold.run / PREDICTIONS).open(newline="", encoding="utf-8") as part:
                rows = list(csv.reader(part))
            writer.writerows(([["fold", *rows[0]]] if i == 0 else []) + [[fold.name, *row] for row in rows[1:]])
