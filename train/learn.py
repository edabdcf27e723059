"""The training loop itself: loss, schedule, the epoch that is kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.labels import LABELS
from alledge.output import Progress
from alledge.preprocess import Preprocessing
from alledge.runfolder import Tiles

from .batches import Batches
from .checkpoint import SLOTS, Checkpoint
from .epochs import KeepEpochs
from .losses import FocalLoss
from .model import build_model
from .options import Options
from .recipe import Recipe, recipe_for

History = dict[str, list[float]]


def learn(tiles: Mapping[str, Tiles], preprocessing: Preprocessing, options: Options, progress: Progress,
          recipe: Recipe | None = None, folder: Path | None = None) -> tuple[keras.Model, History]:
    """Train on `train` tiles and keep the epoch with the lowest loss on `val` tiles.

    Args:
        tiles: `train` and `val`.
        preprocessing: what the network wants done to them.
        options: what the user asked for.
        progress: who is told.
        recipe: how to teach; default `recipe_for(options)`.
        folder: where finished epochs are kept until `forget` is called, and gone on from; None keeps none.

    Returns:
        The model with its two outputs, and metric -> one value per epoch.

    Raises:
        DataError: when `folder` holds epochs of another training.
        OutputError: when `folder` has no room for them.
    """
    recipe = recipe or recipe_for(options)
    keras.utils.set_random_seed(options.seed)
    model = build_model(options.backbone, options.weights, options.head, preprocessing.size)
    batches = Batches(tiles["train"], preprocessing, options.batch, options.seed, recipe.strength)
    trained = keras.Model(model.inputs, model.output["probs"])  # the embedding has no truth to be trained on
    trained.compile(_optimizer(recipe, len(batches) * options.epochs), _loss(recipe, tiles["train"].truth),
                    metrics=["accuracy"])
    checkpoint = Checkpoint(folder, _identity(tiles, options, recipe), options.epochs) if folder else None
    keep = KeepEpochs(trained, checkpoint, options.epochs, recipe.patience, progress)
    batches.begin(keep.first_epoch)
    with progress.bar("training", len(batches) * (options.epochs - keep.first_epoch)) as step:
        told = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: step())
        trained.fit(batches, initial_epoch=keep.first_epoch, epochs=options.epochs, verbose=0, callbacks=[told, keep],
                    validation_data=Batches(tiles["val"], preprocessing, options.batch))
    return model, keep.state.history


def forget(folder: Path) -> None:
    """Remove the epochs that `learn` kept in a folder, once what they led to is on disk."""
    for name in SLOTS:
        (folder / name).unlink(missing_ok=True)


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(_schedule(recipe, steps), clipnorm=recipe.clip_norm)


def _schedule(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Up over the first steps, then a cosine down to nothing: the last epochs hardly move."""
    if not recipe.decay:
        return recipe.learning_rate
    warm = max(1, int(steps * recipe.warm_up))
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate / 10, max(1, steps - warm),
                                                  warmup_target=recipe.learning_rate, warmup_steps=warm)


def _loss(recipe: Recipe, truth: NDArray[np.int64]) -> keras.losses.Loss:
    return FocalLoss(_balance(truth) if recipe.balanced else None, gamma=recipe.gamma)


def _balance(truth: NDArray[np.int64]) -> list[float]:
    """alpha_t: inverse class frequency with a mean of 1 over the training rows; 0 for an absent class."""
    counts = np.bincount(truth, minlength=len(LABELS))
    share = np.where(counts > 0, len(truth) / np.maximum(counts, 1), 0.0)
    return [float(v) for v in share / np.count_nonzero(counts)]


def _identity(tiles: Mapping[str, Tiles], options: Options, recipe: Recipe) -> dict[str, Any]:
    """What must be the same for a training to go on where another one was killed."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("train", "val"):
        digest.update(tiles[name].truth.tobytes())
        for tile in tiles[name].pixels:
            digest.update(tile.tobytes())
    return {**asdict(options), "recipe": asdict(recipe), "set of images": digest.hexdigest(),
            "Keras backend": keras.backend.backend()}
