"""Open a run folder: the trained network and the tiles it is converted and judged with."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.errors import BackendMissing, DataError
from alledge.labels import LABELS
from alledge.preprocess import Preprocessing, scale
from alledge.runfolder import (
    CALIBRATION_TILES,
    HELD_OUT_TILES,
    MODEL,
    Tiles,
    TrainingRecord,
    read_record,
    read_tiles,
)

OUTPUTS = ("probs", "embedding")
RANGING_TILES = 64  # to choose activation ranges with; docs/decisions/003-int8-attention.md
_BATCH = 32  # tiles per float prediction: fits any desktop and is no slower than more


@dataclass(frozen=True)
class Trained:
    """A run in memory.

    Attributes:
        model: Keras model, float32 [n, size, size, 3] -> {"probs": [n, 4], "embedding": [n, d]}.
        calibration: training rows, to choose ranges and the domain gate with.
        held_out: rows to judge with. No gradient came from them; they chose the epoch and the calibration.
    """

    record: TrainingRecord
    model: Any
    calibration: Tiles
    held_out: Tiles


@dataclass(frozen=True)
class Outputs:
    """What a network made of n tiles: probabilities [n, 4] and embeddings [n, d], float32."""

    probs: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def rows(self, chosen: NDArray[np.intp]) -> "Outputs":
        """The outputs of some of the tiles."""
        return Outputs(self.probs[chosen], self.embedding[chosen])


def open_trained(run: Path) -> Trained:
    """Read a run and check that its parts belong together.

    Raises:
        UsageError: when there is no run at that path.
        DataError: when its record, model or tiles are damaged, foreign or do not fit each other.
    """
    record = read_record(run)
    size = record.preprocessing.size
    calibration, held_out = (_checked(run / name, read_tiles(run, name), size)
                             for name in (CALIBRATION_TILES, HELD_OUT_TILES))
    return Trained(record, _load(run / MODEL, size), calibration, held_out)


def predict(trained: Trained, tiles: Tiles) -> Outputs:
    """The float network's outputs."""
    batch = scale(tiles.pixels, trained.record.preprocessing)
    outputs = trained.model.predict(batch, batch_size=_BATCH, verbose=0)
    return Outputs(outputs["probs"], outputs["embedding"])


def tensors(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> list[NDArray[np.float32]]:
    """One model input, float32 [1, size, size, 3], per tile of uint8 [n, size, size, 3]."""
    return [scale(tile[None], preprocessing) for tile in pixels]


def spread(truth: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    """Indices of at most `limit` of the tiles with these classes, even over the classes and always the same ones."""
    order = np.argsort(truth, kind="stable")
    if len(order) <= limit:
        return np.arange(len(order))
    return np.asarray(order[np.linspace(0, len(order) - 1, limit).round().astype(int)], np.intp)


def ranging_tensors(trained: Trained) -> list[NDArray[np.float32]]:
    """Training tiles as model inputs [1, size, size, 3], to choose activation ranges with."""
    pixels = trained.calibration.pixels[spread(trained.calibration.truth, RANGING_TILES)]
    return tensors(pixels, trained.record.preprocessing)


def _checked(path: Path, tiles: Tiles, size: int) -> Tiles:
    shape, truth = tiles.pixels.shape, tiles.truth
    if tiles.pixels.dtype != np.uint8 or shape[1:] != (size, size, 3) or not len(tiles.pixels):
        raise DataError(f"{path}: expected uint8 [n, {size}, {size}, 3] with n >= 1, received {tiles.pixels.dtype} "
                        f"{list(shape)}; train the run again")
    if truth.shape != shape[:1] or truth.min() < 0 or truth.max() >= len(LABELS):
        raise DataError(f"{path}: expected one class index 0 to {len(LABELS) - 1} for each of {shape[0]} tiles, "
                        f"received {list(truth.shape)} values; train the run again")
    return tiles


def _load(path: Path, size: int) -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # freezing a graph is TensorFlow's; the file itself fits any backend
    import keras

    if keras.backend.backend() != "tensorflow":
        raise BackendMissing(f"conversion needs Keras on TensorFlow, but it runs on {keras.backend.backend()} here: "
                             "convert in a process of its own")
    try:
        model = keras.models.load_model(path, compile=False)
        outputs = {name: _output(model, name) for name in OUTPUTS}
    except Exception as error:  # Keras lets zip, JSON, HDF5 and Python errors of any kind through
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: expected a Keras model of stock layers with outputs {' and '.join(OUTPUTS)}, "
                        f"received something else ({reason})") from error
    _check_shapes(path, model, outputs, size)
    return keras.Model(model.inputs[0], outputs, name="network")  # a counted name would end up in the bundle


def _output(model: Any, name: str) -> Any:
    """The output called `name`: dictionaries keep their names in a saved file, lists only their layers'."""
    if isinstance(model.output, dict) and name in model.output:
        return model.output[name]
    return model.get_layer(name).output


def _check_shapes(path: Path, model: Any, outputs: dict[str, Any], size: int) -> None:
    image, probs = tuple(model.inputs[0].shape), tuple(outputs["probs"].shape)
    if len(model.inputs) != 1 or image[1:] != (size, size, 3) or probs[1:] != (len(LABELS),):
        raise DataError(f"{path}: expected [n, {size}, {size}, 3] -> probs [n, {len(LABELS)}], received "
                        f"{list(image)} -> {list(probs)}; the model and training.json are not of one run")
