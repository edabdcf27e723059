"""A run's own verdicts on image files, for `alledge evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.calibration import answered, apply_temperature
from alledge.dataset import Item
from alledge.errors import DataError
from alledge.runfolder import MODEL, read_record

from .batches import predict, read_tiles


def predict_run(run: Path, items: Sequence[Item]) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[str, Any]]:
    """Calibrated probabilities [n, 4], answered [n], and {"id", "target", "engine"} of the model.

    Raises:
        UsageError, DataError: when the run is missing or damaged.
        ImageError: for the first file that is not a usable image.
    """
    record = read_record(run)
    try:
        model = keras.models.load_model(run / MODEL, compile=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{run / MODEL}: not a complete Keras model ({str(error).splitlines()[0]})") from error
    raw, embeddings = predict(model, read_tiles(items, record.preprocessing).pixels, record.preprocessing)
    probabilities = apply_temperature(raw, record.calibration.temperature)
    sure = answered(probabilities, embeddings, record.calibration)
    return probabilities, sure, {"id": record.run_id, "target": "run", "engine": f"keras-{keras.backend.backend()}"}
