"""Where a network learns: on one device, on all devices of this machine, or on several machines."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras

from alledge.errors import UsageError

PLACES = ("one", "devices", "workers")


@dataclass(frozen=True)
class Placement:
    """A choice of devices.

    Attributes:
        replicas: how many copies share a batch.
        scope: networks are made, compiled and trained inside it.
        strategy: of tf.distribute, where that drives the copies; else Keras does.
        chief: this process keeps epochs and writes the run.
    """

    replicas: int = 1
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    strategy: Any = None
    chief: bool = True

    def check(self, batch: int, precision: str) -> None:
        """Refuse what cannot be shared evenly.

        Raises:
            UsageError: for a batch that is no multiple of the replicas, or float16 under tf.distribute.
        """
        if batch % self.replicas:
            raise UsageError(f"--batch {batch} cannot be shared evenly: expected a multiple of the {self.replicas} "
                             "devices")
        if self.strategy and precision == "mixed_float16":
            raise UsageError("--precision mixed_float16 needs a loss scale that is not kept across devices under "
                             "TensorFlow: use mixed_bfloat16, or KERAS_BACKEND=jax")


def place(where: str) -> Placement:
    """`one`, `devices` (all of this machine) or `workers` (the machines in TF_CONFIG).

    Raises:
        UsageError: when the Keras backend cannot do it, or TF_CONFIG is missing or malformed.
    """
    backend = keras.backend.backend()
    if where == "one":
        return Placement()
    if where == "devices" and backend == "jax":
        return Placement(len(keras.distribution.list_devices()), _data_parallel)
    if backend != "tensorflow":
        raise UsageError(f"--distribute {where} is not to be had under the {backend} backend: expected "
                         "KERAS_BACKEND=tensorflow" + (" or jax" if where == "devices" else ""))
    return _mirrored() if where == "devices" else _workers()


@contextmanager
def _data_parallel() -> Iterator[None]:
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _mirrored() -> Placement:
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    return Placement(strategy.num_replicas_in_sync, strategy.scope, strategy)


def _workers() -> Placement:
    task = _task()
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Placement(strategy.num_replicas_in_sync, strategy.scope, strategy, task in (("chief", 0), ("worker", 0)))


def _task() -> tuple[str, int]:
    """Who this process is, by TF_CONFIG."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        task = json.loads(text)["task"]
        return str(task["type"]), int(task["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError('--distribute workers needs TF_CONFIG on every machine: expected {"cluster": {"worker": '
                         '["host:port", ...]}, "task": {"type": "worker", "index": 0}}, received '
                         f"{text[:80]!r}") from error
