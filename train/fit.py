"""Train one network on one split and leave a complete run folder."""

import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge import __version__
from alledge.calibration import Calibration, answered, apply_temperature, fit_calibration, fit_gate
from alledge.dataset import SUBSETS, Dataset, Item
from alledge.errors import DataError, UsageError
from alledge.labels import LABELS
from alledge.metrics import score
from alledge.predictions import PREDICTIONS, write_predictions
from alledge.preprocess import Preprocessing
from alledge.runfolder import (
    CALIBRATION_TILES,
    HELD_OUT_TILES,
    MODEL,
    Tiles,
    TrainingRecord,
    write_record,
    write_tiles,
)

from .backbones import find, preprocessing_for
from .baseline import histogram_accuracy
from .batches import Batches, predict, read_tiles
from .card import write_card
from .losses import FocalLoss
from .model import build_model
from .report import write_report

KEPT_TILES = 200  # calibration tiles: more did not help int8 (docs/results/calibration.md says how many are enough)
Log = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What `alledge train` was asked for; see its `--help`."""

    backbone: str = "mobilenetv2"
    head: str = "compact"
    loss: str = "focal"
    weights: str = "imagenet"
    segment: str = "none"
    epochs: int = 6
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        find(self.backbone)
        if self.weights not in ("imagenet", "none") and not Path(self.weights).is_file():
            raise UsageError(f"--weights {self.weights}: expected imagenet, none or a weights file, found no such file")
        for name, value, known in (("head", self.head, ("compact",)), ("loss", self.loss, ("focal", "crossentropy")),
                                   ("segment", self.segment, ("none", "paper", "stain"))):
            if value not in known:
                raise UsageError(f"--{name} {value!r} is unknown: expected {', '.join(known)}")
        for name, number in (("epochs", self.epochs), ("batch", self.batch)):
            if number < 1:
                raise UsageError(f"--{name} {number}: expected at least 1")


def train(dataset: Dataset, out: Path, options: Options, log: Log) -> TrainingRecord:
    """Train on `train` rows, select and calibrate on `val` rows, score on `test` rows.

    Raises:
        DataError: when a subset is empty or lacks a class that another one has.
        UsageError: for options that are out of range.
    """
    items = {name: dataset.subset(name) for name in SUBSETS}
    _check_subsets(items)
    preprocessing = preprocessing_for(options.backbone, options.segment)
    tiles = {name: read_tiles(rows, preprocessing) for name, rows in items.items()}
    log(f"{', '.join(f'{len(rows)} {name}' for name, rows in items.items())} images, {preprocessing.size} px")
    started = time.monotonic()
    model, history = _fit(tiles, preprocessing, options, log)
    seconds = time.monotonic() - started
    calibration, probabilities, sure = _judge(model, tiles, preprocessing)
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out / PREDICTIONS, items["test"], probabilities, sure)
    record = TrainingRecord(
        run_id=_identify(model),
        labels=list(LABELS),
        preprocessing=preprocessing,
        calibration=calibration,
        options=asdict(options),
        provenance=_provenance(dataset, items, seconds),
        metrics={**score(probabilities, tiles["test"].truth, sure).to_json(),
                 "baseline_histogram_accuracy": histogram_accuracy(tiles["train"], tiles["test"])},
        history=history,
    )
    _write_run(out, model, tiles, record)
    write_report(out, record, tiles["test"], probabilities)
    write_card(out, record)
    write_record(out, record)
    return record


def _fit(tiles: dict[str, Tiles], preprocessing: Preprocessing, options: Options,
         log: Log) -> tuple[keras.Model, dict[str, list[float]]]:
    keras.utils.set_random_seed(options.seed)
    model = build_model(options.backbone, options.weights)
    row = find(options.backbone)
    batches = Batches(tiles["train"], preprocessing, options.batch, options.seed, row.augmentation)
    alpha = _balance(tiles["train"].truth)
    loss = FocalLoss(alpha, gamma=2.0 if options.loss == "focal" else 0.0)
    peak = row.learning_rate[options.weights == "none"]
    trained = keras.Model(model.inputs, model.output["probs"])  # the embedding has no truth to be trained on
    trained.compile(keras.optimizers.Adam(_schedule(peak, len(batches) * options.epochs), clipnorm=1.0), loss,
                    metrics=["accuracy"])
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: log(_line(epoch, options.epochs, logs)))
    best = keras.callbacks.EarlyStopping("val_loss", patience=options.epochs, restore_best_weights=True)
    history = trained.fit(batches, epochs=options.epochs, verbose=0, callbacks=[told, best],
                          validation_data=Batches(tiles["val"], preprocessing, options.batch))
    return model, {name: [float(v) for v in values] for name, values in history.history.items()}


def _schedule(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Warm up over a twentieth of the steps, then a cosine down to nothing: the last epochs hardly move."""
    warm = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(peak / 10, max(1, steps - warm), warmup_target=peak,
                                                  warmup_steps=warm)


def _balance(truth: NDArray[np.int64]) -> list[float]:
    """alpha_t: inverse class frequency with a mean of 1 over the training rows; 0 for an absent class."""
    counts = np.bincount(truth, minlength=len(LABELS))
    share = np.where(counts > 0, len(truth) / np.maximum(counts, 1), 0.0)
    return [float(v) for v in share / np.count_nonzero(counts)]


def _judge(model: keras.Model, tiles: dict[str, Tiles],
           preprocessing: Preprocessing) -> tuple[Calibration, NDArray[np.float64], NDArray[np.bool_]]:
    """Calibrate on validation rows; calibrated test probabilities [n, 4] and which were answered [n]."""
    outputs = {name: predict(model, t.pixels, preprocessing) for name, t in tiles.items()}
    gate = fit_gate(outputs["train"][1], tiles["train"].truth)
    calibration = fit_calibration(*outputs["val"], tiles["val"].truth, gate)
    probabilities = apply_temperature(outputs["test"][0], calibration.temperature)
    return calibration, probabilities, answered(probabilities, outputs["test"][1], calibration)


def _write_run(out: Path, model: keras.Model, tiles: dict[str, Tiles], record: TrainingRecord) -> None:
    keras.Model(model.inputs, model.output, name=model.name).save(out / MODEL)  # uncompiled: no Adam slots
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


def _identify(model: keras.Model) -> str:
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()[:12]


def _provenance(dataset: Dataset, items: dict[str, tuple[Item, ...]], seconds: float) -> dict[str, Any]:
    return {
        "alledge": __version__,
        "split_sha256": dataset.split_sha256,
        "images": {name: len(rows) for name, rows in items.items()},
        "fit_seconds": round(seconds, 1),
        "keras": keras.__version__,
        "keras_backend": keras.backend.backend(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _check_subsets(items: dict[str, tuple[Item, ...]]) -> None:
    everywhere = {i.label for rows in items.values() for i in rows}
    for name, rows in items.items():
        lacking = everywhere - {i.label for i in rows}
        if lacking and name != "test":
            raise DataError(f"the {name} rows hold no image of {', '.join(sorted(lacking))}: expected every class in "
                            "each of train and val; add images or change the split")
    if not items["test"]:
        raise DataError("the split has no test rows: expected some, or the run could not be judged")


def _line(epoch: int, epochs: int, logs: dict[str, float]) -> str:
    return (f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.4f}, validation loss {logs['val_loss']:.4f}, "
            f"accuracy {logs['accuracy']:.3f}, validation accuracy {logs['val_accuracy']:.3f}")
