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
from alledge.runfolder import Tiles, TrainingRecord, model_file, read_record

from .tiles import Sample, find_tiles, spread

OUTPUTS = ("probs", "embedding")
RANGING_TILES = 64  # to choose activation ranges with; docs/decisions/003-int8-attention.md
_BATCH = 32  # tiles per float prediction: fits any desktop and is no slower than more


@dataclass(frozen=True)
class Trained:
    """A run in memory.

    Attributes:
        model: Keras model, float32 [n, size, size, channels] -> {"probs": [n, 4], "embedding": [n, d]}.
        calibration: training rows, to choose ranges and the domain gate with.
        ranging: how many of those choose activation ranges.
        held_out: rows to judge with. No gradient came from them, they chose the epoch and the calibration; unless the
            record says `out_of_fold`: then the network has learned from them too, and only agreement can be judged.
    """

    record: TrainingRecord
    model: Any
    calibration: Sample
    held_out: Sample
    ranging: int = RANGING_TILES


@dataclass(frozen=True)
class Outputs:
    """What a network made of n tiles: probabilities [n, 4] and embeddings [n, d], float32."""

    probs: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def rows(self, chosen: NDArray[np.intp]) -> "Outputs":
        """The outputs of some of the tiles."""
        return Outputs(self.probs[chosen], self.embedding[chosen])


def open_trained(run: Path, data: Path | None = None, split: Path | None = None) -> Trained:
    """Read a run and check that its parts belong together.

    Args:
        run: its folder; tiles that are not in it are drawn.
        data, split: the images it was trained with, to be used instead of its tiles.

    Raises:
        UsageError: when there is no run at that path.
        DataError: when its record, model or tiles are damaged, foreign or do not fit each other.
    """
    record = read_record(run)
    calibration, held_out = find_tiles(run, record, data, split)
    return Trained(record, _load(model_file(run), record.preprocessing), calibration, held_out)


def predict(trained: Trained, tiles: Tiles | Sample) -> Outputs:
    """The float network's outputs."""
    batch = scale(tiles.pixels, trained.record.preprocessing)
    outputs = trained.model.predict(batch, batch_size=_BATCH, verbose=0)
    return Outputs(outputs["probs"], outputs["embedding"])


def tensors(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> list[NDArray[np.float32]]:
    """One model input, float32 [1, size, size, channels], per tile of uint8 [n, size, size, channels]."""
    return [scale(tile[None], preprocessing) for tile in pixels]


def ranging_tensors(trained: Trained) -> list[NDArray[np.float32]]:
    """Training tiles as model inputs [1, size, size, channels], to choose activation ranges with."""
    pixels = trained.calibration.pixels[spread(trained.calibration, trained.ranging)]
    return tensors(pixels, trained.record.preprocessing)


def _load(path: Path, preprocessing: Preprocessing) -> Any:
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
    _check_shapes(path, model, outputs, preprocessing)
    return keras.Model(model.inputs[0], outputs, name="network")  # a counted name would end up in the bundle


def _output(model: Any, name: str) -> Any:
    """The output called `name`: dictionaries keep their names in a saved file, lists only their layers'."""
    if isinstance(model.output, dict) and name in model.output:
        return model.output[name]
    return model.get_layer(name).output


def _check_shapes(path: Path, model: Any, outputs: dict[str, Any], preprocessing: Preprocessing) -> None:
    wanted = (preprocessing.size, preprocessing.size, preprocessing.channels)
    image, probs = tuple(model.inputs[0].shape), tuple(outputs["probs"].shape)
    if len(model.inputs) != 1 or image[1:] != wanted or probs[1:] != (len(LABELS),):
        raise DataError(f"{path}: expected [n, {', '.join(map(str, wanted))}] -> probs [n, {len(LABELS)}], received "
                        f"{list(image)} -> {list(probs)}; the model and training.json are not of one run")
