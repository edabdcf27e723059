"""`alledge evaluate`: one set of figures for a run and for a bundle, on the same images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from alledge.backends import stage
from alledge.dataset import SUBSETS, Dataset, Item, read_dataset
from alledge.errors import DataError, UsageError
from alledge.labels import TITLES
from alledge.metrics import score
from alledge.output import emit
from alledge.predictions import write_predictions
from alledge.quiet import quiet
from alledge.runfolder import is_run


def evaluate(
    model: Annotated[Path, typer.Argument(help="A run folder or a bundle.")],
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder per class.")],
    split: Annotated[Path | None, typer.Option(help="Split CSV; default DATA/split.csv if there is one.")] = None,
    subset: Annotated[str, typer.Option(help="train, val, test, or all.")] = "test",
    engine: Annotated[str | None, typer.Option(help="Engine for a bundle; default its own.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Also write one CSV row per image to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score a run or a bundle on labelled images, beside what a colour histogram alone would reach.

    Example: alledge evaluate RUN/cpu.alledge --data smears --split split.csv --subset test
    """
    if subset not in (*SUBSETS, "all"):
        raise UsageError(f"--subset {subset!r} is unknown: expected train, val, test or all")
    dataset = read_dataset(data, split)
    with quiet():
        report = report_on(model, dataset, subset, engine, predictions)
    if json:
        emit(report)
    else:
        typer.echo(_text(report))


def report_on(model: Path, dataset: Dataset, subset: str, engine: str | None = None,
              predictions: Path | None = None) -> dict[str, Any]:
    """The document that `evaluate --json` prints; each image's probabilities go to `predictions` if given.

    Raises:
        DataError: when the subset is empty.
        AlledgeError: whatever reading the model or an image raises.
    """
    items = dataset.subset(subset)
    if not items:
        raise DataError(f"{dataset.root}: no image is in subset {subset!r}")
    if is_run(model):
        probabilities, sure, identity = stage("train.predict").predict_run(model, items)
    else:
        probabilities, sure, identity = stage("device.predict").predict_bundle(model, [i.path for i in items], engine)
    if predictions:
        write_predictions(predictions, items, probabilities, sure)
    scores = score(probabilities, np.array([item.index for item in items], np.int64), sure)
    baseline = _baseline(dataset, items) if subset in ("val", "test") else None  # it must not see what it is tested on
    return {**scores.to_json(), "model": identity, "baseline_histogram_accuracy": baseline}


def _baseline(dataset: Dataset, items: Sequence[Item]) -> float | None:
    """None where scikit-learn or Keras is not installed, on a board."""
    try:
        baseline: float | None = stage("train.baseline").histogram_accuracy(dataset.subset("train"), items)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("keras", "sklearn", "tensorflow"):
            raise
        return None
    return baseline


def _text(report: dict[str, Any]) -> str:
    low, high = report["accuracy_ci95"]
    baseline = report["baseline_histogram_accuracy"]
    lines = [
        f"accuracy {report['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on {report['n']} images, "
        f"model {report['model']['id']} ({report['model']['target']}, {report['model']['engine']})",
        f"colour histogram alone: {'not measured here' if baseline is None else f'{baseline:.1%}'}",
        f"answered {1 - report['abstained'] / report['n']:.1%}, accuracy when answered "
        f"{_percent(report['accuracy_when_answered'])}, calibration error {report['ece']:.3f}",
        f"malignant: sensitivity {_percent(report['malignant']['sensitivity'])}, specificity "
        f"{_percent(report['malignant']['specificity'])}",
        *(f"  {TITLES[label]:<12} precision {_percent(s['precision'])}, recall {_percent(s['recall'])}, {s['n']} images"
          for label, s in report["per_class"].items()),
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "no case" if value is None else f"{value:.1%}"
