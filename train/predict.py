"""A run's own answers to fields, for `alledge evaluate`."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.calibration import Calibration, answered, apply_temperature, gate_input
from alledge.errors import DataError
from alledge.labels import LABELS
from alledge.preprocess import Preprocessing, prepare_field
from alledge.runfolder import model_file, read_record

from .batches import predict

CHUNK = 256  # fields prepared before the network sees them: bounds memory, whatever the number of images


def load_model(run: Path) -> keras.Model:
    """The network of a run, under whichever Keras backend is in use.

    Raises:
        DataError: when the file is damaged.
    """
    path = model_file(run)
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a complete Keras model ({str(error).splitlines()[0]})") from error


def judge_tiles(model: keras.Model, pixels: NDArray[np.uint8], preprocessing: Preprocessing,
                calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Calibrated probabilities [n, 4] of tiles uint8 [n, S, S, c], and which are answered [n]."""
    raw, embeddings = predict(model, pixels, preprocessing)
    probabilities = apply_temperature(raw, calibration.temperature)
    return probabilities, answered(probabilities, gate_input(embeddings, pixels), calibration)


class RunJudge:
    """A run as a `Judge`: confidence and domain gate decide what is answered, as on a device.

    Raises:
        UsageError, DataError: when the run is missing or damaged.
    """

    def __init__(self, run: Path) -> None:
        self._record = read_record(run)
        self._model = load_model(run)
        self.identity = {"id": self._record.run_id, "target": "run", "engine": f"keras-{keras.backend.backend()}"}
        self.provenance = self._record.provenance

    def __call__(self, fields: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Judge`."""
        parts = [self._judge(chunk) for chunk in _chunks(fields)]
        if not parts:
            return np.empty((0, len(LABELS))), np.empty(0, bool)
        probabilities, sure = zip(*parts, strict=True)
        return np.concatenate(probabilities), np.concatenate(sure)

    def close(self) -> None:
        """Nothing is held that Python does not free."""

    def _judge(self, fields: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        settings = self._record.preprocessing
        tiles = np.stack([prepare_field(f, settings).tile for f in fields])
        return judge_tiles(self._model, tiles, settings, self._record.calibration)


def _chunks(fields: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    waiting = iter(fields)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk
