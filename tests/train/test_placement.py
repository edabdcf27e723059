"""Precision, memory and several devices: the run is the same float32 run, or a sentence says why not."""

import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

import keras

from alledge.errors import MemoryExhausted, UsageError
from alledge.output import Progress
from alledge.preprocess import scale
from alledge.runfolder import Tiles
from alledge.synthetic import draw_field
from alledge.train.backbones import preprocessing_for
from alledge.train.learn import learn
from alledge.train.numerics import naming_the_batch
from alledge.train.options import Options
from alledge.train.placement import Placement, place

INPUT = preprocessing_for("tiny", "none")
TEACH = """
import json, sys
import numpy as np
import typer
from alledge.labels import LABELS
from alledge.output import Progress
from alledge.runfolder import Tiles
from alledge.synthetic import draw_field
from alledge.train.backbones import preprocessing_for
from alledge.train.learn import learn
from alledge.train.options import Options

def tiles(n, seed):
    fields = [draw_field(LABELS[i % 4], seed + i, 112).rgb for i in range(n)]
    return Tiles(pixels=np.stack(fields), truth=np.arange(n) % 4)

options = Options("tiny", weights="none", epochs=2, batch=4, distribute=sys.argv[1])
given = {"train": tiles(10, 0), "val": tiles(4, 50)}
class Told(Progress):
    def say(self, line):
        print(line, flush=True)
try:
    learn(given, preprocessing_for("tiny", "none"), options, Told(sys.stderr))
except typer.Exit:
    pass
"""


def teach(where, environment):
    """A process that trains 2 epochs of 3 batches and prints its losses."""
    return subprocess.Popen([sys.executable, "-c", TEACH, where], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, env={**os.environ, **environment})


def lines(process):
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return [line for line in said.splitlines() if line.startswith("epoch")]


def numbers(said):
    """Every figure of some lines, in order."""
    return [float(number) for line in said for number in re.findall(r"\d+\.\d+", line)]


def free_ports(n):
    holders = [socket.socket() for _ in range(n)]
    for holder in holders:
        holder.bind(("localhost", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def test_two_workers_on_loopback_lose_what_one_device_loses():
    pytest.importorskip("tensorflow", reason="several machines need TensorFlow")
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = [teach("workers", {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})})
               for i in (0, 1)]
    said = [lines(worker) for worker in workers]
    assert len(said[0]) == 2
    assert said[0] == said[1]
    apart = np.subtract(numbers(said[0]), numbers(lines(teach("one", {}))))
    assert np.abs(apart).max() < 2e-3  # sums in another order round differently, and later steps build on it


@pytest.mark.parametrize("text", ["", "{}", "no JSON", '{"task": {"type": "worker"}}'])
def test_workers_need_to_know_each_other(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="needs TF_CONFIG"):
        place("workers")


def test_a_backend_that_cannot_says_which_can(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UsageError, match="under the torch backend: expected KERAS_BACKEND=tensorflow or jax"):
        place("devices")


def test_a_batch_is_shared_evenly():
    Placement(replicas=4).check(32, "float32")
    with pytest.raises(UsageError, match="multiple of the 4 devices"):
        Placement(replicas=4).check(30, "float32")
    with pytest.raises(UsageError, match="mixed_bfloat16"):
        Placement(replicas=2, strategy=object()).check(32, "mixed_float16")


class OutOfMemoryError(RuntimeError):
    """A stand-in for torch's."""


@pytest.mark.parametrize("error", [
    OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 2147483648 bytes."),
    MemoryError(),
])
def test_too_little_memory_names_the_batch_to_try(error):
    with pytest.raises(MemoryExhausted, match=r"--batch 32 does not fit .* try --batch 16"), naming_the_batch(32):
        raise error
    with pytest.raises(MemoryExhausted, match="smaller --backbone"), naming_the_batch(1):
        raise error


def test_tensorflow_itself_out_of_memory_names_the_batch_to_try():
    tf = pytest.importorskip("tensorflow")
    with pytest.raises(MemoryExhausted, match="try --batch 4,"), naming_the_batch(8):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[32,96,112,112]")


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="broken"), naming_the_batch(8):
        raise RuntimeError("broken")


@pytest.mark.parametrize("precision", ["mixed_bfloat16"])
def test_a_network_trained_in_mixed_precision_is_a_float32_network(precision, tmp_path):
    tiles = Tiles(pixels=np.stack([draw_field("pre_b", i, 112).rgb for i in range(4)]), truth=np.arange(4))
    model, history = learn({"train": tiles, "val": tiles}, INPUT,
                           Options("tiny", weights="none", epochs=1, batch=4, precision=precision),
                           Progress(sys.stderr))
    assert keras.config.dtype_policy().name == "float32"
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    model.save(tmp_path / "m.keras")
    outputs = keras.models.load_model(tmp_path / "m.keras", compile=False).predict_on_batch(scale(tiles.pixels, INPUT))
    assert {name: value.dtype for name, value in outputs.items()} == {"probs": np.float32, "embedding": np.float32}
    assert np.isfinite(history["loss"]).all()
