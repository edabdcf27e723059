"""Several devices or machines under TensorFlow: `tf.distribute` keeps the copies of a network equal, this feeds them.

`keras.Model.fit` of Keras 3 does not drive `MultiWorkerMirroredStrategy` (it fails while building the metrics), and it
clips each copy's gradient before they are summed; so the step is written out here. It clips the sum, which is what one
device alone would have clipped.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alledge.errors import UsageError

from .batches import Batches

_AHEAD = 2  # batches made while the devices compute


def fit(strategy: tf.distribute.Strategy, model: keras.Model, clip_norm: float | None, data: tuple[Batches, Batches],
        epochs: range, callbacks: list[keras.callbacks.Callback]) -> None:
    """Like `model.fit`, on all replicas of a strategy.

    Args:
        strategy: the one whose scope the model was made and compiled in.
        model: compiled without `clipnorm`.
        clip_norm: longest gradient of one variable over the whole batch; None does not clip.
        data: batches to train on and to validate on, of as many rows as all replicas can share evenly.
        epochs: which to run.
        callbacks: told of batches, epochs and the end of training.

    Raises:
        UsageError: when the processes would not begin with the same epoch.
    """
    _begin_together(strategy, epochs.start)
    batches, held_out = data
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True  # statistics of the whole batch, as on one device
    told = keras.callbacks.CallbackList(callbacks, model=model)
    learn, judge = _steps(strategy, model, clip_norm)
    told.on_train_begin()
    for epoch in epochs:
        told.on_epoch_begin(epoch)
        logs = _epoch(strategy, learn, batches, told)
        logs |= {f"val_{name}": value for name, value in _epoch(strategy, judge, held_out, None).items()}
        told.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    told.on_train_end()


def _begin_together(strategy: tf.distribute.Strategy, epoch: int) -> None:
    """Processes that resumed from different epochs would wait for each other for ever."""
    mean = strategy.reduce("MEAN", strategy.run(tf.function(lambda: tf.constant(float(epoch)))), axis=None)
    if float(mean) != epoch:
        raise UsageError(f"this worker would begin with epoch {epoch + 1}, others with another one: expected --out to "
                         "be one folder that all workers share")


def _steps(strategy: tf.distribute.Strategy, model: keras.Model, clip_norm: float | None) -> tuple[Any, Any]:
    """Two graphs (x, y) -> [loss, accuracy] of the whole batch: one learns from it, one does not."""
    replicas = strategy.num_replicas_in_sync

    def figures(y: Any, probs: Any) -> tuple[Any, Any]:
        right = tf.equal(tf.argmax(y, -1), tf.argmax(probs, -1))
        loss = model.loss(y, probs) * replicas  # under a strategy Keras' losses are a replica's share already
        return loss + sum(model.losses), tf.reduce_mean(tf.cast(right, tf.float32))

    def learn(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, accuracy = figures(y, model(x, training=True))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        whole = [g / replicas for g in tf.distribute.get_replica_context().all_reduce("SUM", gradients)]
        clipped = [tf.clip_by_norm(g, clip_norm) for g in whole] if clip_norm else whole
        model.optimizer.apply([g / replicas for g in clipped])  # which sums them once more
        return tf.stack([loss, accuracy])

    def judge(x: Any, y: Any) -> Any:
        return tf.stack(figures(y, model(x, training=False)))

    def everywhere(step: Any) -> Any:
        return tf.function(lambda x, y: strategy.reduce("MEAN", strategy.run(step, (x, y)), axis=None),
                           reduce_retracing=True)

    return everywhere(learn), everywhere(judge)


def _epoch(strategy: tf.distribute.Strategy, step: Any, batches: Batches,
           told: keras.callbacks.CallbackList | None) -> dict[str, float]:
    figures, sizes = [], []
    for number, (x, y) in enumerate(_made_ahead(batches)):
        figures.append(np.array(step(_deal(strategy, x), _deal(strategy, y))))
        sizes.append(len(y))
        if told:
            told.on_train_batch_end(number, {})
    loss, accuracy = np.average(figures, axis=0, weights=sizes)
    return {"loss": float(loss), "accuracy": float(accuracy)}


def _deal(strategy: tf.distribute.Strategy, array: Any) -> Any:
    """Every replica its own rows of a batch."""
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(array[replica.replica_id_in_sync_group::replica.num_replicas_in_sync]))


def _made_ahead(batches: Batches) -> Iterator[tuple[Any, Any]]:
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting = [pool.submit(batches.__getitem__, i) for i in range(min(_AHEAD, len(batches)))]
        for i in range(len(batches)):
            yield waiting.pop(0).result()
            if i + _AHEAD < len(batches):
                waiting.append(pool.submit(batches.__getitem__, i + _AHEAD))
