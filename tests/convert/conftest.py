"""A run that is trained in seconds: stock layers, real self-attention, four classes that differ in colour."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alledge.calibration import Calibration, DomainGate
from alledge.convert.conversion import Conversion, convert_run
from alledge.convert.options import Options
from alledge.convert.targets import TARGETS
from alledge.labels import LABELS
from alledge.palette import FIGURES
from alledge.preprocess import Preprocessing, scale
from alledge.quiet import quiet
from alledge.runfolder import (
    CALIBRATION_TILES,
    HELD_OUT_TILES,
    MODEL,
    Tiles,
    TrainingRecord,
    write_record,
    write_tiles,
)

SIZE = 64
# Close enough that the network is not sure of everything: saturated probabilities would hide any damage.
COLOURS = np.array([[118, 84, 128], [98, 106, 128], [118, 106, 96], [104, 94, 112]])

MEASURED = 16 + FIGURES  # embedding of the small network, and colours
GATE = DomainGate(means=[[0.0] * MEASURED], whiten=np.eye(MEASURED).tolist(), threshold=1.0)


def blobs(n: int, seed: int) -> Tiles:
    """n tiles per class with discs in the colour of the class on a noisy ground."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), n)
    pixels = rng.normal(190, 12, (len(truth), SIZE, SIZE, 3))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for tile, label in zip(pixels, truth, strict=True):
        for y, x in rng.integers(8, SIZE - 8, (4, 2)):
            tile[(rows - y) ** 2 + (columns - x) ** 2 < 64] = COLOURS[label] + rng.normal(0, 8, 3)
    return Tiles(pixels=pixels.clip(0, 255).astype(np.uint8), truth=truth)


def network() -> Any:
    import keras
    from keras import layers

    image = x = keras.Input((SIZE, SIZE, 3), name="image")
    for channels in (8, 16, 32):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(x))
    tokens = layers.Reshape((64, 32))(x)
    attention = layers.MultiHeadAttention(4, 8, name="attention")(tokens, tokens)
    x = layers.GlobalAveragePooling1D()(layers.Add()([tokens, attention]))
    embedding = layers.Dense(16, activation="relu", name="embedding")(layers.Dropout(0.2)(x))
    return keras.Model(image, {"probs": layers.Dense(4, activation="softmax", name="probs")(embedding),
                               "embedding": embedding})


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    preprocessing = Preprocessing(size=SIZE)
    training, held_out = blobs(40, 1), blobs(52, 2)
    with quiet():
        import keras

        keras.utils.set_random_seed(3)
        model = network()
        model.compile(keras.optimizers.Adam(3e-3), {"probs": "sparse_categorical_crossentropy", "embedding": None})
        order = np.random.default_rng(0).permutation(len(training.truth))
        model.fit(scale(training.pixels, preprocessing)[order], {"probs": training.truth[order]}, epochs=10,
                  batch_size=16, verbose=0)
        keras.Model(model.input, model.output).save(run / MODEL)
    write_tiles(run, CALIBRATION_TILES, training)
    write_tiles(run, HELD_OUT_TILES, held_out)
    write_record(run, TrainingRecord(run_id="0123456789ab", labels=list(LABELS), preprocessing=preprocessing,
                                     calibration=Calibration(gate=GATE), options={},
                                     provenance={"split_sha256": "none"}, metrics={}, history={}))
    return run


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    """A run to damage."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


def convert_quietly(run: Path, target: Any, out: Path, allow_drop: bool = False, **wishes: Any) -> Conversion:
    with quiet():
        return convert_run(run, target, out, Options(allow_drop, **wishes), lambda line: None)


@pytest.fixture(scope="session")
def conversion(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Conversion]:
    """The run converted for a target, once."""
    folder = tmp_path_factory.mktemp("bundles")
    done: dict[str, Conversion] = {}

    def get(target: str) -> Conversion:
        assert target in TARGETS
        if target not in done:
            done[target] = convert_quietly(trained_run, target, folder / f"{target}.alledge")
        return done[target]

    return get
