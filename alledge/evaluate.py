"""`alledge evaluate`: one set of figures for a run and for a bundle, on the same images."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from alledge.backends import stage
from alledge.dataset import SUBSETS, Dataset, Item, read_dataset
from alledge.errors import DataError, UsageError
from alledge.images import read_image
from alledge.judge import Judge
from alledge.labels import TITLES
from alledge.metrics import score
from alledge.output import Progress, emit
from alledge.perturb import PERTURBATIONS
from alledge.predictions import write_predictions
from alledge.quiet import quiet
from alledge.robustness import STEPS, sweep
from alledge.runfolder import REPORT, is_run


def evaluate(
    model: Annotated[Path, typer.Argument(help="A run folder or a bundle.")],
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder per class.")],
    split: Annotated[Path | None, typer.Option(help="Split CSV; default DATA/split.csv if there is one.")] = None,
    subset: Annotated[str, typer.Option(help="train, val, test, or all.")] = "test",
    engine: Annotated[str | None, typer.Option(help="Engine for a bundle; default its own.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Also write one CSV row per image to this file.")] = None,
    robustness: Annotated[bool, typer.Option("--robustness", help="Also judge the images under cast, stain, exposure, "
                                             f"blur, noise, JPEG and a covered scale bar ({STEPS} levels).")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score a run or a bundle on labelled images, beside what a colour histogram alone would reach.

    Example: alledge evaluate RUN/cpu.alledge --data smears --split split.csv --subset test
    """
    if subset not in (*SUBSETS, "all"):
        raise UsageError(f"--subset {subset!r} is unknown: expected train, val, test or all")
    dataset = read_dataset(data, split)
    with quiet() as person:
        report = report_on(model, dataset, subset, engine, predictions, Progress(person) if robustness else None)
    if json:
        emit(report)
    else:
        typer.echo(_text(report))


def report_on(model: Path, dataset: Dataset, subset: str, engine: str | None = None,
              predictions: Path | None = None, sweeping: Progress | None = None) -> dict[str, Any]:
    """The document that `evaluate --json` prints; each image's probabilities go to `predictions` if given.

    Args:
        model: run or bundle.
        dataset, subset: what to judge.
        engine: for a bundle; its own if None.
        predictions: CSV file.
        sweeping: where to tell progress of a robustness sweep; None for no sweep.

    Raises:
        DataError: when the subset is empty.
        AlledgeError: whatever reading the model or an image raises.
    """
    items = dataset.subset(subset)
    if not items:
        raise DataError(f"{dataset.root}: no image is in subset {subset!r}")
    truth = np.array([item.index for item in items], np.int64)
    with closing(_open(model, engine)) as judge:
        clean = judge(read_image(item.path, halve=True) for item in items)
        if predictions:
            write_predictions(predictions, items, *clean)
        levels = {} if sweeping is None else {"robustness": _sweep(judge, items, clean, sweeping)}
    if sweeping is not None and is_run(model):
        _renew_report(model, items, levels["robustness"], sweeping)
    scores = score(clean[0], truth, clean[1], [item.group for item in items])
    baseline = _baseline(dataset, items) if subset in ("val", "test") else None  # it must not see what it is tested on
    return {**scores.to_json(), "model": judge.identity, "learned_from": _learned(judge.provenance, dataset, subset),
            "baseline_histogram_accuracy": baseline, **levels}


def _learned(provenance: Mapping[str, Any], dataset: Dataset, subset: str) -> bool | None:
    """Whether the model has learned from the images of a subset; None where it was made with another split."""
    split = provenance.get("split_sha256")
    if split == dataset.split_sha256:
        return subset != "test"
    taught_all = Dataset(dataset.root, tuple(replace(item, subset="train") for item in dataset.items))
    return True if split == taught_all.split_sha256 else None  # as the reference model was


def _open(model: Path, engine: str | None) -> Judge:
    if not model.exists():
        raise UsageError(f"{model}: expected a run folder of `alledge train` or a bundle of `alledge convert`, found "
                         "neither")
    judge: Judge = (stage("train.predict").RunJudge(model) if is_run(model) else
                    stage("device.predict").BundleJudge(model, engine))
    return judge


def _sweep(judge: Judge, items: Sequence[Item], clean: Any, progress: Progress) -> list[dict[str, Any]]:
    progress.say(f"robustness: {STEPS} levels of {len(items)} images")
    with progress.bar("robustness", STEPS) as step:
        return [level.to_json() for level in sweep(judge, items, clean, step)]


def _renew_report(run: Path, items: Sequence[Item], levels: list[dict[str, Any]], progress: Progress) -> None:
    if stage("train.report").renew_report(run, items, levels):
        progress.say(f"added to {run / REPORT}")
    else:
        progress.say(f"{run / REPORT} is about other images and was left as it is")


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
    baseline, malignant = report["baseline_histogram_accuracy"], report["malignant"]
    groups = ("images count as independent" if report["groups"] is None else
              f"drawn as {report['groups']} groups {_interval(report['accuracy_group_ci95'])}")
    lines = [
        f"accuracy {_share(report, 'accuracy')} on {report['n']} images, {groups}; "
        f"model {report['model']['id']} ({report['model']['target']}, {report['model']['engine']})",
        f"colour histogram alone: {'not measured here' if baseline is None else f'{baseline:.1%}'}",
        f"answered {1 - report['abstained'] / report['n']:.1%}, accuracy when answered "
        f"{_share(report, 'accuracy_when_answered')}; calibration error {report['ece']:.3f}, loss {report['loss']:.3f}",
        f"malignant: sensitivity {_share(malignant, 'sensitivity')}, specificity {_share(malignant, 'specificity')}; "
        f"{malignant['missed']} answered as benign",
        *(f"  {TITLES[label]:<12} precision {_share(s, 'precision')}, recall {_share(s, 'recall')}, {s['n']} images"
          for label, s in report["per_class"].items()),
        *_levels(report.get("robustness", [])),
        *([_LEARNED[report["learned_from"]]] if report["learned_from"] is not False else []),
        "in brackets: 95 % intervals",
    ]
    return "\n".join(lines)


_LEARNED = {
    True: "warning: the model has learned from these images: the figures say nothing about new ones",
    None: "note: the model was made with another split; where it has learned from any of these images, the figures are "
          "too good",
}


def _levels(levels: list[dict[str, Any]]) -> list[str]:
    titles = {"none": "as they are", **{p.name: p.title for p in PERTURBATIONS}}
    return [f"  {titles[row['perturbation']]:<24}{_setting(row):<24} accuracy {row['accuracy']:.1%}, answered "
            f"{row['answered']:.1%}, accuracy when answered {_share(row, 'accuracy_when_answered')}, "
            f"{row['missed']} malignant answered as benign" for row in levels]


def _setting(row: dict[str, Any]) -> str:
    return f"{row['level']:g} {row['unit']}" if row["unit"] else ""


def _share(report: dict[str, Any], name: str) -> str:
    value = report[name]
    return "no case" if value is None else f"{value:.1%} {_interval(report[f'{name}_ci95'])}"


def _interval(interval: Sequence[float]) -> str:
    return f"({interval[0]:.1%} to {interval[1]:.1%})"
