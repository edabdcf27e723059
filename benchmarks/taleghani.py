"""Real images, cross-validated: float and int8 figures with intervals, beside the colour histogram.

    alledge train --data DIR --split CSV --folds group  --weights W --out RUNS/group    (family, block, random)
    python benchmarks/strangers.py DRAWN
    python benchmarks/taleghani.py RUNS --data DIR --split CSV --foreign FOLDER DRAWN

Other seeds are shown beside them when their runs lie in RUNS/seed1/group and so on.

Every fold's run is converted to the int8 `cpu` bundle and judged on that fold's test rows; finished folds are kept, so
the command can be run again. Writes docs/results/taleghani.md. Intervals are bootstrapped over groups (fields of one
stain cluster together), not over fields, because fields of one slide are not independent.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Dataset, fold_names, hold_out, read_dataset
from alledge.labels import LABELS, TITLES
from alledge.metrics import RESAMPLES, Interval, Scores, score
from alledge.predictions import PREDICTIONS, read_predictions
from alledge.train.baseline import histogram_accuracy

KINDS = ("group", "family", "block", "random")
_SETTINGS = ("backbone", "head", "loss", "segment", "epochs", "seed")
GATE_SAYS = "not like the smears"
DEVICE_FOLD = "group-2"  # fold 2 is also the test subset of the split's own column
TARGET_TOLD = {"cpu": "cpu", "coral": "coral (not compiled, run on the CPU)"}
TARGETS = tuple(TARGET_TOLD)
FOLDS_TOLD = {"group": "group folds", "family": "stain families left out", "block": "blocks left out (they cut groups)",
              "random": "random split (leaks)"}


@dataclass(frozen=True)
class Pooled:
    """Test rows of all folds of one kind: probabilities [n, 4], truth [n], answered [n], group name [n]."""

    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    sure: NDArray[np.bool_]
    groups: NDArray[np.str_]


def convert_fold(dataset: Dataset, kind: str, run: Path, target: str) -> Path:
    """Convert one fold's run, judge the bundle on the fold's test rows, return the CSV of its predictions."""
    out = run / f"{target}.csv"
    if not out.exists():
        split = run / "split.csv"
        _write_split(hold_out(dataset, kind, run.name.removeprefix(f"{kind}-")), split)
        bundle = run / f"{target}.alledge"
        _alledge("convert", run, "--target", target, "--out", bundle, "--allow-drop", log=run / f"{target}.json")
        _alledge("evaluate", bundle, "--data", dataset.root, "--split", split, "--predictions", out,
                 "--engine", "tflite", log=run / f"{target}-score.json")
    return out


def _alledge(*arguments: object, log: Path) -> None:
    command = [sys.executable, "-m", "alledge", *map(str, arguments), "--json"]
    print(" ".join(command[2:]), flush=True)
    log.write_text(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _write_split(dataset: Dataset, path: Path) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", "label", "md5", "group", "split"])
        out.writerows([i.path.relative_to(dataset.root), i.label, i.md5, i.group, i.subset] for i in dataset.items)


def judged(bundle: Path, folder: Path) -> list[dict[str, Any]]:
    """What `alledge run --json` says of each field in a folder."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "alledge", "run", str(bundle), "--camera", f"file://{folder}", "--results",
                   str(Path(place) / "results.db"), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # 3 when none has a verdict
    if done.returncode not in (0, 3):
        raise SystemExit(f"alledge run ended with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def foreign_run(runs: list[Path], folders: list[Path]) -> str:
    """How many pictures of other kinds each fold's bundle answers (it should answer none), and what stopped them."""
    if not folders:
        return "Fields of another laboratory: not measured here (`--foreign FOLDER`)."
    lines = [f"Pictures that should all be inconclusive, through `alledge run` with the int8 cpu bundles of the "
             f"{len(runs)} group folds:", "", "| folder | pictures | verdicts given, per fold | stopped by the domain "
             "gate, per fold |", "|---|---|---|---|"]
    for folder in folders:
        fields = [judged(run / "cpu.alledge", folder) for run in runs]
        given = ", ".join(str(sum(f["verdict"] != "inconclusive" for f in fold)) for fold in fields)
        gated = ", ".join(str(sum(any(GATE_SAYS in r for r in f["reasons"]) for f in fold)) for fold in fields)
        lines.append(f"| {folder.name} | {len(fields[0])} | {given} | {gated} |")
    return "\n".join(lines)


def seeds(root: Path) -> str:
    """Pooled accuracy of every seed there is, per kind of folds."""
    lines = []
    for kind in KINDS:
        found = [json.loads(path.read_text()) for path in sorted(root.glob(f"seed*/{kind}/crossval.json"))]
        if found:
            first = json.loads((root / kind / "crossval.json").read_text())
            told = [f"seed {s['options']['seed']}: {s['accuracy']:.2%} (benign recall "
                    f"{s['per_class']['benign']['recall']:.1%}, answered "
                    f"{1 - s['abstained'] / s['n']:.1%} at {s['accuracy_when_answered']:.2%})" for s in (first, *found)]
            lines.append(f"- {FOLDS_TOLD[kind]}: {'; '.join(told)}.")
    return "\n".join(lines) or "One seed: seed-to-seed spread is not measured here."


def device_run(dataset: Dataset, run: Path) -> str:
    """Send one fold's test images through the device runtime, as a folder camera, and say what came out."""
    held = hold_out(dataset, "group", run.name.removeprefix("group-"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "fields"
        folder.mkdir()
        for item in held.subset("test"):
            shutil.copy(item.path, folder / f"{item.label}-{item.path.name}")
        fields = judged(run / "cpu.alledge", folder)
    given = [f for f in fields if f["verdict"] != "inconclusive"]
    right = sum(Path(f["source"]).name.startswith(f"{f['verdict']}-") for f in given)
    middle = {stage: float(np.median([f["timings_ms"][stage] for f in fields]))
              for stage in ("capture", "segment", "infer", "log", "total")}
    return (f"`alledge run` on the test images of fold {run.name[-1]} ({len(fields)} fields, int8 cpu bundle, SQLite): "
            f"{len(given)} verdicts, {right} of them right, {len(fields) - len(given)} inconclusive. Median "
            f"milliseconds: {', '.join(f'{stage} {ms:.1f}' for stage, ms in middle.items())} (a desktop CPU, one "
            "thread; not a board).")


def pool(dataset: Dataset, runs: list[Path], name: str) -> Pooled:
    """Read the predictions file `name` of each run."""
    group_of = {i.md5: i.group for i in dataset.items}
    parts = [read_predictions(run / name) for run in runs]
    md5 = [row["md5"] for run in runs for row in csv.DictReader((run / name).open(newline=""))]
    probabilities, truth, sure = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pooled(probabilities, truth, sure, np.array([group_of[m] for m in md5]))


def row(name: str, pooled: Pooled, baseline: str) -> str:
    """One line of the table."""
    scores: Scores = score(pooled.probabilities, pooled.truth, pooled.sure, list(pooled.groups))
    benign = scores.per_class["benign"].recall
    accuracy = f"**{scores.accuracy:.1%}** ({_told(scores.accuracy_group_ci95)})"
    return (f"| {name} | {scores.n} | {accuracy} | {baseline} | {benign:.1%} | "
            f"{scores.malignant['sensitivity']:.1%} | {scores.ece:.3f} | {1 - scores.abstained / scores.n:.1%} | "
            f"{scores.accuracy_when_answered or 0:.1%} ({_told(scores.accuracy_when_answered_group_ci95)}) |")


def _told(interval: Interval | None) -> str:
    return "-".join(f"{end:.1%}" for end in interval) if interval else "not known"


def baseline(dataset: Dataset, kind: str) -> str:
    """Pooled accuracy of the colour histogram where no network was trained: it takes seconds."""
    held = [hold_out(dataset, kind, name) for name in fold_names(dataset, kind)]
    sizes = [len(fold.subset("test")) for fold in held]
    shares = [histogram_accuracy(fold.subset("train"), fold.subset("test")) or 0.0 for fold in held]
    return f"{np.average(shares, weights=sizes):.1%}"


def agreement(one: Pooled, other: Pooled) -> str:
    """How often two models call the same."""
    same = one.probabilities.argmax(1) == other.probabilities.argmax(1)
    return f"{same.mean():.1%} of {len(same)}"


def per_class(pooled: Pooled) -> str:
    """Confusion as Markdown."""
    scores = score(pooled.probabilities, pooled.truth)
    head = " | ".join(TITLES[label] for label in LABELS)
    lines = [f"| is, called | {head} | recall |", "|---|---|---|---|---|---|"]
    lines += [f"| {TITLES[label]} | " + " | ".join(map(str, counts)) + f" | {scores.per_class[label].recall:.1%} |"
              for label, counts in zip(LABELS, scores.confusion, strict=True)]
    return "\n".join(lines)


def page(dataset: Dataset, root: Path, foreign: list[Path]) -> str:
    """The whole page as Markdown."""
    rows, agreements, confusions, options = [], [], [], {}
    for kind in KINDS:
        summary = root / kind / "crossval.json"
        if not summary.exists():
            rows.append(f"| float, {FOLDS_TOLD[kind]} | | not measured here | {baseline(dataset, kind)} | | | | | |")
            continue
        report: dict[str, Any] = json.loads(summary.read_text())
        options = report["options"]
        runs = [root / kind / fold["run"] for fold in report["runs"]]
        floats = pool(dataset, runs, PREDICTIONS)
        rows.append(row(f"float, {FOLDS_TOLD[kind]}", floats, f"{report['baseline_histogram_accuracy']:.1%}"))
        confusions.append(f"### {FOLDS_TOLD[kind].capitalize()}, float\n\n{per_class(floats)}")
        for target in TARGETS:
            if all((run / f"{target}.csv").exists() for run in runs):
                converted = pool(dataset, runs, f"{target}.csv")
                rows.append(row(f"int8 {TARGET_TOLD[target]}, {FOLDS_TOLD[kind]}", converted, ""))
                agreements.append(f"- int8 {target} agrees with float on {agreement(floats, converted)} "
                                  f"({FOLDS_TOLD[kind]}).")
    settings = ", ".join(f"{name} {options.get(name)}" for name in _SETTINGS)
    return _PAGE.format(
        settings=settings, date=datetime.date.today(), machine=f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        head=_HEAD, rows="\n".join(rows), agreements="\n".join(agreements), resamples=RESAMPLES,
        device=device_run(dataset, root / "group" / DEVICE_FOLD),
        seeds=seeds(root),
        foreign=foreign_run(sorted((root / "group").glob("group-*")), foreign), confusions="\n\n".join(confusions))


_HEAD = """| model, split | images | accuracy | histogram | benign recall | malignant sensitivity | ECE | answered \
| accuracy when answered |
|---|---|---|---|---|---|---|---|---|"""

_PAGE = """# The Taleghani images

Commands: see the head of `benchmarks/taleghani.py`. Settings: {settings}, weights ImageNet, the split of the project
(2,799 listed images; 40 duplicates and a sealed test are in no row). {date}, {machine}.

Accuracy pools the test rows of all folds. Intervals are 95 %, bootstrapped over groups ({resamples} resamples):
patients are not identified, groups of similar stain and near-duplicates stand in for them. "Histogram" is logistic
regression on an 8x8x8 colour histogram of the same rows: what colour alone knows. "Answered" is the share left after
the confidence threshold and the domain gate, both fitted on training rows by heads that had not seen them.

Head, segmentation and augmentation were chosen by looking at the stain families ([recipe.md](recipe.md),
[inputs.md](inputs.md)), so their figures are a little too good. Dropout and weight decay
were compared on families kept from the test, and left as they were ([regularisation.md](regularisation.md)).

{head}
{rows}

{agreements}

Seeds (another initial head, other batches):

{seeds}

{device}

{foreign}

The stain families are the honest question: how does it do on a stain it never saw? Where its interval reaches down to
the histogram, this network has not shown that it sees more than colour. A random split lets near-neighbours of every
test image train, so it is listed only to show how little it proves.

{confusions}
"""


def main() -> None:
    """Convert what is not converted yet and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--foreign", type=Path, nargs="*", default=[], help="folders of pictures to be refused")
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), help="convert and judge these as well")
    parser.add_argument("--out", type=Path, default=Path("docs/results/taleghani.md"))
    options = parser.parse_args()
    dataset = read_dataset(options.data, options.split)
    for kind in ("group", "family"):  # a random split is shown for what it leaks, and `alledge evaluate` refuses leaks
        for run in sorted((options.runs / kind).glob(f"{kind}-*")):
            for target in options.targets:
                convert_fold(dataset, kind, run, target)
    options.out.write_text(page(dataset, options.runs, options.foreign), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
