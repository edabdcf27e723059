"""The paper's table beside ours: what was measured, how sure it is, and what was not measured."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alledge.dataset import Dataset
from alledge.errors import AlledgeError, WeightsMissing
from alledge.metrics import score
from alledge.predictions import PREDICTIONS, read_column, read_predictions
from alledge.runfolder import is_run, read_record

from .paired import Right, interval, mcnemar
from .paper import DEPARTURES


@dataclass(frozen=True)
class Cell:
    """One network of a table."""

    backbone: str
    head: str
    loss: str

    @property
    def name(self) -> str:
        """Beginning of its runs' folder names."""
        return f"{self.backbone}-{self.head}-{self.loss}"


# The abstract's figure; the paper's tables themselves are not at hand, and none of their values is made up here.
PAPER = {Cell("vgg19", "mhsa", "focal"): 0.9925}
PAPER_MARK = "The abstract also names 98.62 % for ResNet101 as the mark it passes."
NOT_AT_HAND = "not at hand"


@dataclass(frozen=True)
class Measured:
    """The finished runs of a cell: probabilities averaged over seeds [n, 4], truth [n], right [seeds, n], md5 [n]."""

    probabilities: Any
    truth: Any
    right: Right
    md5: list[str]
    seeds: list[int]
    settings: dict[str, Any]
    baseline: float | None


def compare(cells: Sequence[Cell], folder: Path, dataset: Dataset, protocol: str,
            missing: Mapping[Cell, AlledgeError], command: str) -> dict[str, Any]:
    """One row per cell, plain types. Runs of another split or protocol are passed by.

    Each row: `backbone`, `head`, `loss`, `paper` (accuracy or null), `accuracy` (mean over seeds or null), `ci95`,
    `per_seed`, `macro_f1` and `auc` (of the seeds' mean probabilities), `settings`, `versus_plain` (McNemar's test
    against the plain head of the same backbone and loss, or null), `missing` (why, and the command; or null).
    """
    same = {"split_sha256": dataset.split_sha256, "protocol": protocol}
    measured = {cell: found for cell in {*cells, *map(_plain, cells)} if (found := _read(folder, cell, same))}
    group_of = {i.md5: i.group for i in dataset.items}
    rows = [_row(cell, measured, group_of, missing, command) for cell in cells]
    baselines = {m.baseline for m in measured.values() if m.baseline is not None}
    return {"test_images": len(dataset.subset("test")), "baseline_histogram_accuracy": max(baselines, default=None),
            "comparisons": sum(row["versus_plain"] is not None for row in rows), "rows": rows}


def _plain(cell: Cell) -> Cell:
    return Cell(cell.backbone, "plain", cell.loss)


def _read(folder: Path, cell: Cell, same: Mapping[str, str]) -> Measured | None:
    finished = [run for run in folder.glob(f"{cell.name}-*") if is_run(run)]
    runs = sorted((run for run in finished if same.items() <= read_record(run).provenance.items()), key=_seed)
    if not runs:
        return None
    parts = [read_predictions(run / PREDICTIONS) for run in runs]
    record, truth = read_record(runs[0]), parts[0][1]
    return Measured(
        probabilities=np.mean([p for p, _, _ in parts], axis=0),
        truth=truth,
        right=np.stack([p.argmax(1) == truth for p, _, _ in parts]),
        md5=read_column(runs[0] / PREDICTIONS, "md5"),
        seeds=[_seed(run) for run in runs],
        settings={name: record.options[name] for name in ("weights", "epochs", "batch")},
        baseline=record.metrics["baseline_histogram_accuracy"],
    )


def _seed(run: Path) -> int:
    return int(run.name.rpartition("-")[2])


def _row(cell: Cell, measured: Mapping[Cell, Measured], group_of: Mapping[str, str],
         missing: Mapping[Cell, AlledgeError], command: str) -> dict[str, Any]:
    found, plain = measured.get(cell), measured.get(_plain(cell))
    row: dict[str, Any] = {**asdict(cell), "paper": PAPER.get(cell), "accuracy": None, "ci95": None, "per_seed": [],
                           "macro_f1": None, "auc": None, "settings": None, "versus_plain": None, "missing": None}
    if found is None:
        error = missing.get(cell)
        way_out = " --weights FILE" if isinstance(error, WeightsMissing) else ""
        return {**row, "missing": {"reason": str(error or "not trained yet"),
                                   "command": f"{command} --backbones {cell.backbone}{way_out}"}}
    scores = score(found.probabilities, found.truth)
    paired = plain if plain and cell.head != "plain" and plain.md5 == found.md5 else None
    return {**row, "accuracy": float(found.right.mean()), "per_seed": found.right.mean(1).tolist(),
            "ci95": interval(found.right, [group_of[m] for m in found.md5]), "macro_f1": scores.macro_f1,
            "auc": scores.auc, "settings": found.settings,
            "versus_plain": asdict(mcnemar(found.right, paired.right)) if paired else None}


def page(report: Mapping[str, Any]) -> str:
    """The same as Markdown, for a person."""
    lines = [_line(row) for row in report["rows"] if row["accuracy"] is not None]
    lacking = _lacking([row for row in report["rows"] if row["accuracy"] is None])
    parts = [f"# Table {report['table']}: {report['title']} ({report['protocol']})",
             f"`{report['command']}`, {report['date']}, {report['machine']}.",
             "\n".join([_HEAD, *lines]) if lines else "Nothing is measured yet.", *_notes(report)]
    if lacking:
        parts += ["Not measured here, and the command that measures it:", "\n".join(lacking)]
    return "\n\n".join([*parts, "RESEARCH USE ONLY."]) + "\n"


def _lacking(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for the cells of a backbone that one command measures."""
    cells: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        place = (row["backbone"], row["missing"]["reason"], row["missing"]["command"])
        cells.setdefault(place, []).append(f"{row['head']} {row['loss']}")
    return [f"- {backbone} ({', '.join(names)}): {reason}: `{command}`"
            for (backbone, reason, command), names in cells.items()]


def _notes(report: Mapping[str, Any]) -> list[str]:
    baseline, tests = report["baseline_histogram_accuracy"], report["comparisons"]
    return [
        _PROTOCOLS[report["protocol"]],
        *([] if report["protocol"] == "split" else [DEPARTURES]),
        f"A colour histogram alone, with no shape: {'not measured here' if baseline is None else f'{baseline:.1%}'} on "
        f"the same {report['test_images']} test images.",
        "Paper: the accuracy in arXiv 2508.17216 where it is at hand; the values in its tables are not, and none is "
        f"made up here. {PAPER_MARK}",
        "Intervals are 95 %, bootstrapped over groups of fields where the split names them. F1 and AUC are those of "
        "the probabilities averaged over seeds. Against plain: images that only this head (+) or only the plain one "
        "(-) called right, and McNemar's exact p, which takes fields of one slide for independent." + (
            f" With {tests} comparisons in this table, p below {0.05 / tests:.2g} holds for all of them together, and "
            "in this table alone: the tables share their runs." if tests else ""),
    ]


def _line(row: Mapping[str, Any]) -> str:
    low, high = row["ci95"]
    seeds = row["per_seed"]
    spread = f"{len(seeds)}" if len(seeds) == 1 else f"{len(seeds)} ({min(seeds):.1%}-{max(seeds):.1%})"
    test = row["versus_plain"]
    versus = f"+{test['only_first']} -{test['only_second']}, p {test['p']:.3g}" if test else ""
    auc = "" if row["auc"] is None else f"{row['auc']:.4f}"
    settings = f"{Path(row['settings']['weights']).name}, {row['settings']['epochs']}"
    return (f"| {row['backbone']} | {row['head']} | {row['loss']} | {_percent(row['paper'])} | "
            f"**{row['accuracy']:.2%}** ({low:.1%}-{high:.1%}) | {spread} | {row['macro_f1']:.3f} | {auc} | {versus} | "
            f"{settings} |")


def _percent(value: float | None) -> str:
    return NOT_AT_HAND if value is None else f"{value:.2%}"


_HEAD = """| backbone | head | loss | paper | ours | seeds | macro F1 | AUC | against plain | weights, epochs |
|---|---|---|---|---|---|---|---|---|---|"""

_PROTOCOLS = {
    "paper": "Single images were dealt at random, then multiplied: near-twins of test images from the same slide are "
             "still learned from, so the figures are optimistic.",
    "leaky": "The paper's order: multiplied first, dealt then. Twins and varied copies of the test images themselves "
             "are learned from, so the figures say little; they are here to show how much the leak is worth.",
    "split": "The rows of the split, with the default recipe.",
}
