"""The training loop itself: loss, schedule, the epoch that is kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import typer
from numpy.typing import NDArray

from alledge.labels import LABELS
from alledge.output import Progress
from alledge.preprocess import Preprocessing
from alledge.runfolder import Tiles

from .batches import Batches
from .checkpoint import Checkpoint
from .epochs import KeepBest
from .losses import FocalLoss
from .model import build_model
from .numerics import naming_the_batch, precision
from .options import Options
from .placement import Placement, place
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
        MemoryExhausted: when a batch does not fit into the device.
        UsageError: when the devices or the precision asked for are not to be had.
        typer.Exit: in a worker that is not the first, whose work ends here.
    """
    recipe = recipe or recipe_for(options)
    where = place(options.distribute)
    where.check(options.batch, options.precision)
    data = (Batches(tiles["train"], preprocessing, options.batch, options.seed, recipe.strength, where.replicas),
            Batches(tiles["val"], preprocessing, options.batch, shares=where.replicas))
    steps = len(data[0])
    with where.scope(), precision(options.precision), naming_the_batch(options.batch):
        keras.utils.set_random_seed(options.seed)
        model = build_model(options.backbone, options.weights, options.head, preprocessing.size)
        trained = keras.Model(model.inputs, model.output["probs"])  # the embedding has no truth to be trained on
        trained.compile(_optimizer(recipe, steps * options.epochs, where), focal_loss(recipe, tiles["train"].truth),
                        metrics=["accuracy"])
        checkpoint = Checkpoint(folder, _identity(tiles, options, recipe), options.epochs) if folder else None
        keep = KeepBest(trained, checkpoint, options.epochs, recipe.patience, progress, where.chief)
        with progress.bar("training", steps * (options.epochs - keep.first_epoch)) as step:
            _fit(where, trained, recipe, data, range(keep.first_epoch, options.epochs),
                 [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: data[0].begin(epoch),
                                                 on_train_batch_end=lambda batch, logs: step()), keep])
    if not where.chief:
        progress.say("this worker is done: the first one writes the run")
        raise typer.Exit
    return _at_home(model, preprocessing, options), keep.state.history


def _fit(where: Placement, model: keras.Model, recipe: Recipe, data: tuple[Batches, Batches], epochs: range,
         callbacks: list[keras.callbacks.Callback]) -> None:
    if where.strategy:
        from .replicas import fit  # TensorFlow itself, which no other backend needs

        fit(where.strategy, model, recipe.clip_norm, data, epochs, callbacks)
    else:
        model.fit(data[0], initial_epoch=epochs.start, epochs=epochs.stop, verbose=0, callbacks=callbacks,
                  validation_data=data[1], shuffle=False)  # `Batches` has shuffled, in a way that survives a resume


def _at_home(model: keras.Model, preprocessing: Preprocessing, options: Options) -> keras.Model:
    """The network in float32 on one device, as it is saved and converted, whatever it was trained in."""
    if (options.precision, options.distribute) == ("float32", "one"):
        return model
    home = build_model(options.backbone, "none", options.head, preprocessing.size)
    home.set_weights(model.get_weights())
    return home


def _optimizer(recipe: Recipe, steps: int, where: Placement) -> keras.optimizers.Optimizer:
    """Under tf.distribute the replicas clip what they have summed."""
    return keras.optimizers.Adam(schedule(recipe, steps), clipnorm=None if where.strategy else recipe.clip_norm)


def schedule(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Learning rate over `steps`: up at first, then a cosine down to nothing: the last epochs hardly move."""
    if not recipe.decay:
        return recipe.learning_rate
    warm = max(1, int(steps * recipe.warm_up))
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate / 10, max(1, steps - warm),
                                                  warmup_target=recipe.learning_rate, warmup_steps=warm)


def focal_loss(recipe: Recipe, truth: NDArray[np.int64]) -> keras.losses.Loss:
    """The recipe's loss for training rows of these classes."""
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
