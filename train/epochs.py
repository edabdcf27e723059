"""What happens between two epochs: the finished one is kept on disk, the best one remembered, training may stop."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import keras
import numpy as np

from alledge.errors import DataError, OutputError
from alledge.output import Progress

from .checkpoint import Arrays, Checkpoint, State


class KeepEpochs(keras.callbacks.Callback):
    """Keeps every finished epoch, so that a training that was killed goes on as if nothing had happened.

    Args:
        model: compiled; an unfinished training in `checkpoint` is restored into it at once.
        checkpoint: where finished epochs go; None keeps them in memory only.
        epochs: how many there will be at most.
        progress: who is told.
        writes: False only goes on from the checkpoint, which another process of the same training writes.

    Raises:
        DataError: when the checkpoint is of another training.
        OutputError: when the checkpoint has no room.
    """

    def __init__(self, model: keras.Model, checkpoint: Checkpoint | None, epochs: int, progress: Progress,
                 writes: bool = True) -> None:
        super().__init__()
        self._checkpoint, self._epochs, self._progress, self._writes = checkpoint, epochs, progress, writes
        model.optimizer.build(model.trainable_variables)
        self.state = State()
        if checkpoint:
            self._go_on(model, checkpoint)

    @property
    def first_epoch(self) -> int:
        """Where `fit` has to begin; the end when no more is wanted."""
        return self._epochs if self.state.stopped else self.state.epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Remember, keep: an epoch that was told is on disk."""
        self.state = self._after(epoch, {name: float(value) for name, value in logs.items()})
        self.model.stop_training = self.state.stopped
        try:
            if self._checkpoint and self._writes:
                self._checkpoint.write(self.state)
        except OutputError as error:
            self._progress.say(f"warning: {error}; the epochs before it stay there, training goes on")

    def _after(self, epoch: int, logs: Mapping[str, float]) -> State:
        history = {name: [*self.state.history.get(name, []), value] for name, value in logs.items()}
        return replace(_snapshot(self.model), epoch=epoch + 1, history=history)

    def _start(self, model: keras.Model) -> State:
        return _snapshot(model)

    def _go_on(self, model: keras.Model, checkpoint: Checkpoint) -> None:
        found = checkpoint.read()
        if found is None:
            if checkpoint.exists:
                self._progress.say("warning: the epochs kept by an earlier training are damaged; starting over")
            if self._writes:
                checkpoint.reserve(self._start(model))
            return
        for variable, value in zip([*model.variables, *model.optimizer.variables],
                                   [*found.variables, *found.optimizer], strict=True):
            variable.assign(value)
        self.state = found
        if found.epoch:
            self._progress.say(f"{found.epoch} of {self._epochs} epochs were finished before: going on from there")


class KeepBest(KeepEpochs):
    """Remembers also the epoch with the lowest validation loss, and leaves its weights in the network at the end.

    Args:
        model, checkpoint, epochs, progress, writes: as for `KeepEpochs`.
        patience: epochs without improvement after which to stop; None never stops.
    """

    def __init__(self, model: keras.Model, checkpoint: Checkpoint | None, epochs: int, patience: int | None,
                 progress: Progress, writes: bool = True) -> None:
        super().__init__(model, checkpoint, epochs, progress, writes)
        self._patience = patience

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Keep, then tell."""
        super().on_epoch_end(epoch, logs)
        self._progress.say(_line(epoch, self._epochs, logs))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Put the best epoch's weights into the network."""
        if self.state.best is None:
            raise DataError("the validation loss was not a number in any epoch; try --precision float32 or another "
                            "--seed")
        self.model.set_weights(self.state.best_weights)

    def _after(self, epoch: int, logs: Mapping[str, float]) -> State:
        before, loss = self.state, logs["val_loss"]
        better = isfinite(loss) and (before.best is None or loss < before.best)
        waited = 0 if better else before.waited + 1
        return replace(
            super()._after(epoch, logs),
            best=loss if better else before.best,
            waited=waited,
            stopped=self._patience is not None and waited >= self._patience,
            best_weights=self.model.get_weights() if better else before.best_weights,
        )

    def _start(self, model: keras.Model) -> State:
        """With the room that the best weights will take."""
        return replace(super()._start(model), best_weights=model.get_weights())


def _snapshot(model: keras.Model) -> State:
    return State(variables=_values(model.variables), optimizer=_values(model.optimizer.variables))


def _values(variables: list[Any]) -> Arrays:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def _line(epoch: int, epochs: int, logs: dict[str, float]) -> str:
    return (f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.4f}, validation loss {logs['val_loss']:.4f}, "
            f"accuracy {logs['accuracy']:.3f}, validation accuracy {logs['val_accuracy']:.3f}")
