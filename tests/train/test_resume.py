"""Finished epochs on disk: the last whole one is found, whatever cut a write short."""

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.errors import DataError, OutputError
from alledge.train.checkpoint import SLOTS, Checkpoint, State


def state(epoch, value=1.0):
    return State(epoch=epoch, history={"val_loss": [value] * epoch}, best=value, variables=[np.full(4, value)],
                 optimizer=[np.array(epoch)], best_weights=[np.full(4, value)])


def test_the_last_whole_epoch_is_read(tmp_path):
    checkpoint = Checkpoint(tmp_path, {"seed": 1}, 9)
    assert checkpoint.read() is None
    checkpoint.reserve(state(0))
    for epoch in (1, 2):
        checkpoint.write(state(epoch, epoch / 2))
    found = checkpoint.read()
    assert (found.epoch, found.history, found.best) == (2, {"val_loss": [1.0, 1.0]}, 1.0)
    assert np.array_equal(found.variables[0], np.full(4, 1.0))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_write_cut_short_leaves_the_epoch_before(tmp_path, share):
    checkpoint = Checkpoint(tmp_path, {}, 9)
    checkpoint.reserve(state(0))
    checkpoint.write(state(1, 0.25))
    old = (tmp_path / SLOTS[0]).read_bytes()
    checkpoint.write(state(2, 0.5))
    new = (tmp_path / SLOTS[0]).read_bytes()
    assert len(new) == len(old), "a slot must not need more room than was reserved"
    at = int(len(new) * share)
    (tmp_path / SLOTS[0]).write_bytes(new[:at] + old[at:])
    assert checkpoint.read().epoch == 1


def test_slots_never_grow_and_belong_to_one_training(tmp_path):
    checkpoint = Checkpoint(tmp_path, {"seed": 1}, 100)
    checkpoint.reserve(state(0))
    before = [(tmp_path / slot).stat().st_size for slot in SLOTS]
    for epoch in range(1, 101):
        checkpoint.write(State(**{**vars(state(epoch)), "history": {
            name: [0.12345678901234567] * epoch for name in ("loss", "accuracy", "val_loss", "val_accuracy")}}))
    assert [(tmp_path / slot).stat().st_size for slot in SLOTS] == before
    with pytest.raises(DataError, match="another seed"):
        Checkpoint(tmp_path, {"seed": 2}, 100).read()


def test_a_full_disk_is_told_in_megabytes_and_nothing_stays_taken(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / SLOTS[1]).symlink_to("/dev/full")
    large = State(**{**vars(state(0)), "variables": [np.zeros(3_000_000, np.float32)]})
    with pytest.raises(OutputError, match=r"run: needs 25 MB for finished epochs, \d+ MB are free; make room"):
        Checkpoint(run, {}, 9).reserve(large)
    assert not any(run.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be kept"):
        Checkpoint(tmp_path / "file", {}, 1).reserve(state(0))
