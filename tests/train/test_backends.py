"""Trained under another Keras backend without TensorFlow, a run is evaluated and converted like any other."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.predictions import read_predictions
from alledge.runfolder import read_record

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed
from alledge.cli import main
main()
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_of_another_backend_is_a_run(backend, alledge, smears, tmp_path):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed: pip install {backend} (a CPU build will do)")
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", WITHOUT_TENSORFLOW, "train", "--data", smears, "--backbone", "tiny",
                           "--weights", "none", "--epochs", "1", "--out", run], capture_output=True, text=True,
                          check=False, timeout=600, env={**os.environ, "KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stderr
    assert read_record(run).provenance["keras_backend"] == backend
    if not importlib.util.find_spec("tensorflow"):
        pytest.skip(f"trained under {backend}; tensorflow is not installed to evaluate and convert the run")
    again = tmp_path / "again.csv"
    assert alledge("evaluate", run, "--data", smears, "--predictions", again).returncode == 0
    assert abs(read_predictions(again)[0] - read_predictions(run / "predictions.csv")[0]).max() < 1e-4
    converted = alledge("convert", run, "--target", "cpu", "--allow-drop")
    assert converted.returncode == 0, converted.stderr
    assert (run / "cpu.alledge").stat().st_size > 50_000
