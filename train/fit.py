"""Train one network on one split and leave a complete run folder."""

import hashlib
import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from alledge import __version__
from alledge.calibration import fit_calibration, fit_gate, gate_input
from alledge.dataset import SUBSETS, Dataset, Item
from alledge.errors import DataError, OutputError
from alledge.labels import LABELS
from alledge.metrics import score
from alledge.output import Progress
from alledge.palette import fit_palette
from alledge.predictions import PREDICTIONS, write_predictions
from alledge.preprocess import Preprocessing
from alledge.runfolder import (
    CALIBRATION_TILES,
    HELD_OUT_TILES,
    MODEL,
    Tiles,
    TrainingRecord,
    joined,
    write_record,
    write_tiles,
)

from .backbones import check_weights, preprocessing_for
from .baseline import histogram_accuracy
from .batches import predict
from .card import write_card
from .checkpoint import forget
from .findings import composition, unlearned
from .frozen import Taught, teach
from .heads import NUCLEI
from .learn import learn
from .options import Options, trains_head_alone
from .predict import judge_tiles
from .protocol import SPLIT, Protocol
from .recipe import Recipe
from .report import write_report

KEPT_TILES = 200  # training tiles for conversion, which ranges int8 on some of them


def train(dataset: Dataset, out: Path, options: Options, progress: Progress,
          protocol: Protocol = SPLIT) -> TrainingRecord:
    """Train on `train` rows, select and calibrate on `val` rows, score on `test` rows.

    Where a head is taught alone it learns from `train` and `val` rows and is calibrated out of fold, see `frozen`.

    Raises:
        DataError: when there are no test rows, or training or validation rows lack a class.
        UsageError: for options that are out of range.
    """
    items = {name: dataset.subset(name) for name in SUBSETS}
    _check_subsets(items, dataset.dealt)
    check_weights(options.backbone, options.weights)
    preprocessing = preprocessing_for(options.backbone, options.segment, protocol.size, options.head == NUCLEI)
    tiles = protocol.read(items, preprocessing, progress)
    progress.say(f"{', '.join(f'{len(t.truth)} {name}' for name, t in tiles.items())} images, {preprocessing.size} px")
    started = time.monotonic()
    alone = protocol == SPLIT and trains_head_alone(options.backbone, options.head, options.weights)
    recipe = protocol.recipe(options)
    taught = (teach(joined([tiles["train"], tiles["val"]]), [i.group for name in ("train", "val") for i in items[name]],
                    preprocessing, options, recipe, progress, out) if alone else
              _learn(tiles, preprocessing, options, recipe, progress, out))
    seconds = time.monotonic() - started
    model, calibration = taught.model, taught.calibration
    probabilities, sure = judge_tiles(model, tiles["test"].pixels, preprocessing, calibration)
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out / PREDICTIONS, items["test"], probabilities, sure)
    record = TrainingRecord(
        run_id=identify(model),
        labels=list(LABELS),
        preprocessing=preprocessing,
        calibration=calibration,
        options=asdict(options),
        provenance={"protocol": protocol.name, **describe(dataset, items, seconds)},
        metrics={**score(probabilities, tiles["test"].truth, sure, [i.group for i in items["test"]]).to_json(),
                 "baseline_histogram_accuracy": histogram_accuracy(items["train"], items["test"])},
        history=taught.history,
        out_of_fold=alone,
        palette=fit_palette(tiles["train"].pixels, tiles["train"].truth),
    )
    doubt = unlearned(record.metrics)
    if doubt:
        progress.say(f"warning: {doubt}")
    _write_run(out, model, tiles, record)
    write_report(out, record, tiles["test"])
    write_card(out, record)
    write_record(out, record)
    forget(out)
    return record


def _learn(tiles: dict[str, Tiles], preprocessing: Preprocessing, options: Options, recipe: Recipe,
           progress: Progress, out: Path) -> Taught:
    """Train on `train` tiles, select and calibrate on `val` tiles."""
    model, history = learn(tiles, preprocessing, options, progress, recipe, out)
    (_, trained), (raw, embeddings) = (predict(model, tiles[name].pixels, preprocessing) for name in ("train", "val"))
    gate = fit_gate(gate_input(trained, tiles["train"].pixels), tiles["train"].truth)
    distances = gate.distance(gate_input(embeddings, tiles["val"].pixels))
    return Taught(model, history, fit_calibration(raw, distances, tiles["val"].truth, gate))


def _write_run(out: Path, model: keras.Model, tiles: dict[str, Tiles], record: TrainingRecord) -> None:
    try:
        keras.Model(model.inputs, model.output, name=model.name).save(out / MODEL)  # uncompiled: no Adam slots
    except OSError as error:
        raise OutputError(f"{out / MODEL}: cannot be written ({error.strerror or error}); make room and run the same "
                          "command again: finished epochs are kept") from error
    seed = int(record.options["seed"])
    write_tiles(out, CALIBRATION_TILES, _sample(tiles["train"], KEPT_TILES, seed))
    write_tiles(out, HELD_OUT_TILES, tiles["val"])


def _sample(tiles: Tiles, n: int, seed: int) -> Tiles:
    """About `n` tiles, as many of each class as there are."""
    random = np.random.default_rng(seed)
    classes = np.unique(tiles.truth)
    rows = np.concatenate([random.permutation(np.flatnonzero(tiles.truth == c))[:n // len(classes)]
                           for c in classes])
    return Tiles(pixels=tiles.pixels[rows], truth=tiles.truth[rows])


def identify(model: keras.Model) -> str:
    """12 hex digits that name a network and its weights."""
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()[:12]


def describe(dataset: Dataset, items: dict[str, tuple[Item, ...]], seconds: float) -> dict[str, Any]:
    """Where a run came from: data, software, machine."""
    return {
        "alledge": __version__,
        "split_sha256": dataset.split_sha256,
        "images": {name: len(rows) for name, rows in items.items()},
        "composition": composition(items),
        "fit_seconds": round(seconds, 1),
        "keras": keras.__version__,
        "keras_backend": keras.backend.backend(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _check_subsets(items: dict[str, tuple[Item, ...]], dealt: bool) -> None:
    for name in ("train", "val"):
        found = {i.label for i in items[name]}
        lacking = [label for label in LABELS if label not in found]
        if lacking and dealt:
            raise DataError(f"too few different images of {', '.join(lacking)}: expected at least 3 of each class, one "
                            "to learn from, one to validate and one to test; add images")
        if lacking:
            raise DataError(f"the {name} rows hold no image of {', '.join(lacking)}: expected every class in each of "
                            "train and val; add images or change the split")
    if not items["test"]:
        raise DataError("the split has no test rows: expected some, or the run could not be judged")
