"""Commands of the desktop stage: `train` and `data audit`."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from alledge.dataset import FOLD_COLUMNS, read_dataset
from alledge.errors import DataError, UsageError
from alledge.files import checked_out
from alledge.labels import TITLES
from alledge.output import Progress, command_group, emit
from alledge.quiet import quiet
from alledge.runfolder import RECORD, REPORT, TrainingRecord, read_record

_DEALT = ("no split CSV: images are dealt by their content; near-twins may stand on both sides, so figures are "
          "optimistic (docs/data.md)")

data = command_group(help="Look at a data set before trusting it.")


def train(
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder per class.")],
    out: Annotated[Path, typer.Option(help="Run folder to write; new, empty, or an interrupted "
                                      "cross-validation.")] = Path("run"),
    split: Annotated[Path | None, typer.Option(help="Split CSV; default DATA/split.csv if there is one.")] = None,
    folds: Annotated[str | None, typer.Option(help="Cross-validate over the folds of the split: group, family, "
                                              "block, or random (which leaks).")] = None,
    backbone: Annotated[str, typer.Option(help="mobilenetv2, vgg19, inceptionv3, resnet101, resnet152v2, "
                                      "inceptionresnetv2, densenet201, efficientnetb7, or tiny (the "
                                      "demo's).")] = "mobilenetv2",
    head: Annotated[str | None, typer.Option(show_default=False, help="nuclei (what nuclei look like; default for "
                                         "mobilenetv2), compact (self-attention sized for a board; default for the "
                                         "others), mhsa (the paper's) or plain (no attention).")] = None,
    loss: Annotated[str, typer.Option(help="focal or crossentropy.")] = "focal",
    weights: Annotated[str | None, typer.Option(show_default=False, help="imagenet (downloaded by Keras; default where "
                                                "there are such), none, or a weights file.")] = None,
    segment: Annotated[str, typer.Option(help="What the network sees: none (all), or nuclei by paper or "
                                         "stain.")] = "none",
    epochs: Annotated[int | None, typer.Option(min=1, max=1000, show_default=False,
                                               help="Default 20 when only a head is trained, else 6.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=1024, show_default=False,
                                              help="Default 64 when only a head is trained, else 32.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    precision: Annotated[str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16; the saved run is "
                                           "float32.")] = "float32",
    distribute: Annotated[str, typer.Option(help="one device, all devices of this machine, or the workers in "
                                            "TF_CONFIG.")] = "one",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a network with multi-head self-attention on smear images and leave a run folder.

    Without --folds one run is trained on the split's own train, val and test rows. With --folds one run per fold is
    trained and the pooled figures stand in crossval.json; run the same command again to resume.

    Example: alledge train --data smears --split split.csv --backbone mobilenetv2 --out runs/first
    """
    dataset = read_dataset(data, split)
    _check_out(out, folds)
    if folds and distribute == "workers":
        raise UsageError("--folds and --distribute workers do not go together: train the folds on one machine each")
    with quiet() as person:
        from .backbones import default_weights
        from .crossval import cross_validate
        from .fit import train as fit
        from .options import Options, default_batch, default_epochs, default_head

        progress = Progress(person)
        head, weights = head or default_head(backbone), weights or default_weights(backbone)
        options = Options(backbone, head, loss, weights, segment, epochs or default_epochs(backbone, head, weights),
                          batch or default_batch(backbone, head, weights), seed, precision, distribute)
        if dataset.dealt and not folds:
            progress.say(_DEALT)
        if folds:
            summary = cross_validate(dataset, folds, out, options, progress)
        else:
            summary = _summary(out, fit(dataset, out, options, progress))
    _tell(summary, out, json)


def explain(
    model: Annotated[Path, typer.Argument(help="A run folder.")],
    image: Annotated[Path, typer.Argument(help="The image to explain.")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="Picture to write.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what a network went by: its attention and a Grad-CAM over the image. RESEARCH USE ONLY.

    Example: alledge explain RUN smear.png --out why.png
    """
    if model.is_file():
        raise UsageError(f"{model}: expected a run folder, found a file; a bundle holds a converted network without "
                         "gradients, so explain the run that it was made from")
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: expected a file name that ends in .png")
    checked_out(out)
    read_record(model)  # refused before Keras is loaded
    with quiet():
        from .explaining import explain_image
        from .findings import certainty

        found = explain_image(model, image, out)
    if json:
        emit(found)
        return
    shares = ", ".join(f"{name.replace('_', '-')} {heat['inside_nuclei']:.0%}" for name, heat in found["maps"].items())
    verdict = TITLES.get(found["verdict"], f"Inconclusive (most likely {TITLES[found['most_likely']]})")
    typer.echo(f"{verdict}, {certainty(found['confidence'])}; share inside the nuclei: {shares} (they cover "
               f"{found['coverage']:.0%}); {out}")
    for line in (*found["warnings"], *found["notes"]):
        typer.echo(line)


def reproduce(
    table: Annotated[int, typer.Option(help="5 (with attention), 6 (without), 7 (heads) or 8 (losses).")],
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder per class.")],
    split: Annotated[Path | None, typer.Option(help="Split CSV; default DATA/split.csv if there is one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the table; finished ones in it are "
                                      "kept.")] = Path("reproduced"),
    protocol: Annotated[str, typer.Option(help="paper (dealt, then multiplied), leaky (the paper's order) or split "
                                          "(the rows of the split).")] = "paper",
    backbones: Annotated[str, typer.Option(help="Train only these, comma-separated; default the table's.")] = "",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings per cell.")] = 1,
    weights: Annotated[str, typer.Option(help="imagenet (downloaded by Keras), none, or a weights file of the one "
                                         "backbone.")] = "imagenet",
    epochs: Annotated[int | None, typer.Option(min=1, max=1000, help="At most; default 30, with split 6.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=1024)] = 32,
    test_per_class: Annotated[int, typer.Option(min=1, help="Images put aside for the test (paper, leaky).")] = 100,
    per_class: Annotated[int, typer.Option(min=10, help="Tiles per class to learn from (paper, leaky).")] = 1800,
    precision: Annotated[str, typer.Option(help="As for train.")] = "float32",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train the networks of one of the paper's tables and print the paper's figures beside ours.

    Every training is a run folder in OUT/PROTOCOL; run the same command again after an interruption. What could not
    be trained here is listed with the command that does it.

    Example: alledge reproduce --table 5 --data smears --backbones mobilenetv2,vgg19 --seeds 3
    """
    dataset = read_dataset(data, split)
    _check_out(out, None)
    with quiet() as person:
        from .comparison import page
        from .reproduce import Plan
        from .reproduce import reproduce as train_table

        names = tuple(name.strip() for name in backbones.split(",") if name.strip())
        plan = Plan(table, protocol, names, seeds, weights, epochs, batch, test_per_class, per_class, precision)
        places = ["--data", str(data), *(["--split", str(split)] if split else []), "--out", str(out)]
        command = shlex.join(["alledge", "reproduce", *plan.wishes, *places])
        progress = Progress(person)
        if dataset.dealt and protocol == "split":
            progress.say(_DEALT)
        report = train_table(dataset, out, plan, command, progress)
    if json:
        emit(report)
    else:
        typer.echo(page(report))
    if all(row["accuracy"] is None for row in report["rows"]):
        raise DataError(f"no cell of table {table} could be measured; the table says why")


@data.callback()
def _data() -> None:
    """Keeps `audit` a sub-command while it is the only one."""


@data.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Folder with one sub-folder per class.", metavar="DIR")],
    split: Annotated[Path | None, typer.Option(help="Split CSV; default DIR/split.csv if there is one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Counts, duplicates, near-duplicates across subsets, and how much of the label colour alone gives away.

    Example: alledge data audit smears --split split.csv
    """
    dataset = read_dataset(folder, split)
    with quiet():
        from .audit import audit as look

        found = look(dataset)
    if json:
        emit(found)
    else:
        typer.echo("\n".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in found.items()))


def _check_out(out: Path, folds: str | None) -> None:
    if folds is not None and folds not in FOLD_COLUMNS:
        raise UsageError(f"--folds {folds!r} is unknown: expected one of {', '.join(FOLD_COLUMNS)}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, found a file")
    if folds is None and (out / RECORD).exists():
        raise UsageError(f"--out {out}: holds a finished run already; choose another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made ({error.strerror}); choose a folder that you own") from error


def _summary(out: Path, record: TrainingRecord) -> dict[str, Any]:
    return {"run": str(out), "run_id": record.run_id, "report": str(out / REPORT), **record.metrics}


def _tell(summary: dict[str, Any], out: Path, json: bool) -> None:
    if json:
        emit(summary)
        return
    low, high = summary["accuracy_group_ci95"] or summary["accuracy_ci95"]
    drawn = f" in {summary['groups']} groups" if summary["groups"] else ""
    typer.echo(f"test accuracy {summary['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on {summary['n']} "
               f"images{drawn}; colour histogram alone {summary['baseline_histogram_accuracy']:.1%}; everything in "
               f"{out}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return f"{len(value)}" + "".join(f"\n  {row if isinstance(row, str) else ' = '.join(row)}" for row in value)
    return f"{value:.1%}" if isinstance(value, float) else "not measured here" if value is None else str(value)
