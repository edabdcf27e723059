"""The folder that training hands to conversion: its file names, its record, and nothing about how it was made."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from alledge.calibration import Calibration
from alledge.errors import DataError, UsageError
from alledge.files import write_bytes
from alledge.palette import Palette
from alledge.preprocess import Preprocessing

MODEL = "model.keras"
RECORD = "training.json"
CALIBRATION_TILES = "calibration_tiles.npz"
HELD_OUT_TILES = "held_out_tiles.npz"
REPORT = "report.html"
MODEL_CARD = "model_card.md"
ROBUSTNESS = "robustness.json"
RUN_FORMAT = 2


class TrainingRecord(BaseModel):
    """What `training.json` says: enough to convert the run, judge it, and repeat it.

    Attributes:
        run_id: 12 hex digits naming the weights and their settings.
        preprocessing: what `prepare()` must do before the model.
        calibration: temperature, abstention and domain gate fitted on validation rows, or out of fold.
        options: the command line that made it.
        provenance: split hash, counts, versions, seed, machine.
        metrics: scores on the test rows, as `alledge evaluate` prints them.
        history: metric -> one value per epoch.
        out_of_fold: whether the network has learned from the validation rows too, calibrated on what networks that had
            not seen them made of them.
        palette: colours of the training rows, for a conversion without their images; None in older runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = RUN_FORMAT
    run_id: str
    labels: list[str]
    preprocessing: Preprocessing
    calibration: Calibration
    options: dict[str, Any]
    provenance: dict[str, Any]
    metrics: dict[str, Any]
    history: dict[str, list[float]]
    out_of_fold: bool = False
    palette: Palette | None = None


class Tiles(BaseModel):
    """Labelled, already cropped and masked tiles: pixels uint8 [n, size, size, 3 or 4], RGB first, truth int [n]."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]


def joined(parts: Sequence[Tiles]) -> Tiles:
    """The tiles of all parts, one part after the other."""
    return Tiles(pixels=np.concatenate([p.pixels for p in parts]), truth=np.concatenate([p.truth for p in parts]))


def is_run(path: Path) -> bool:
    """True for a folder that holds a training record."""
    return (path / RECORD).is_file()


def read_record(run: Path) -> TrainingRecord:
    """Read and check `training.json`.

    Raises:
        UsageError: when there is no run at that path.
        DataError: when the record is damaged or of a format this version does not know.
    """
    if not is_run(run):
        raise UsageError(f"{run}: expected a run folder made by `alledge train` (with {RECORD}), found none")
    try:
        record = TrainingRecord.model_validate_json((run / RECORD).read_bytes())
    except ValidationError as error:
        raise DataError(f"{run / RECORD}: not a training record ({error.error_count()} faults, first: "
                        f"{error.errors()[0]['msg']})") from error
    if record.format != RUN_FORMAT:
        raise DataError(f"{run / RECORD}: format {record.format} is unknown, expected {RUN_FORMAT}; "
                        f"{'train it again' if record.format < RUN_FORMAT else 'update alledge'}")
    return record


def model_file(run: Path) -> Path:
    """The run's network, a Keras file; what is in it is for those who have Keras to judge.

    Raises:
        DataError: when the file is missing, or no Keras file at all.
    """
    path = run / MODEL
    if not is_zipfile(path):
        raise DataError(f"{path}: expected a Keras model, received {'something else' if path.exists() else 'no file'}; "
                        "copy the run folder again as a whole, or train again")
    return path


def write_record(run: Path, record: TrainingRecord) -> None:
    """Write `training.json` last of all: its presence says that the run is complete."""
    write_bytes(run / RECORD, record.model_dump_json(indent=1).encode())


def read_tiles(run: Path, name: str) -> Tiles:
    """Read `CALIBRATION_TILES` (training rows) or `HELD_OUT_TILES` (validation rows).

    Raises:
        DataError: when the file is missing or damaged.
    """
    try:
        with np.load(run / name, allow_pickle=False) as arrays:
            return Tiles(pixels=arrays["pixels"], truth=arrays["truth"])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{run / name}: expected tiles written by `alledge train`, received something else "
                        f"({error})") from error


def write_tiles(run: Path, name: str, tiles: Tiles) -> None:
    """Write tiles compressed; they are the user's images and stay in the run folder, never in a bundle."""
    content = BytesIO()
    np.savez_compressed(content, pixels=tiles.pixels, truth=tiles.truth)
    write_bytes(run / name, content.getvalue())
