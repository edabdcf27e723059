"""The training loop itself: loss, schedule, the epoch that is kept."""

from collections.abc import Mapping

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.labels import LABELS
from alledge.output import Progress
from alledge.preprocess import Preprocessing
from alledge.runfolder import Tiles

from .backbones import find
from .batches import Batches
from .losses import FocalLoss
from .model import build_model
from .options import Options


def learn(tiles: Mapping[str, Tiles], preprocessing: Preprocessing, options: Options,
          progress: Progress) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train on `train` tiles and keep the epoch with the lowest loss on `val` tiles.

    Returns:
        The model with its two outputs, and metric -> one value per epoch.
    """
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
    best = keras.callbacks.EarlyStopping("val_loss", patience=options.epochs, restore_best_weights=True)
    with progress.bar("training", len(batches) * options.epochs) as step:
        told = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: step(),
            on_epoch_end=lambda epoch, logs: progress.say(_line(epoch, options.epochs, logs)))
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


def _line(epoch: int, epochs: int, logs: dict[str, float]) -> str:
    return (f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.4f}, validation loss {logs['val_loss']:.4f}, "
            f"accuracy {logs['accuracy']:.3f}, validation accuracy {logs['val_accuracy']:.3f}")
