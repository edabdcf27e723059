"""The real tensorrt engine and its child, on stand-ins of every TensorRT and a stub of the CUDA driver."""

import ast
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from alledge.bundle import Bundle
from alledge.device import worker
from alledge.device.engine import open_engine, tensorrt
from alledge.device.faults import EngineFault
from alledge.device.selftest import replay
from alledge.device.supervised import supervise
from alledge.errors import BackendMissing, EngineError

from .tensorrt_standin import VERSIONS

WORKER = Path(worker.__file__)
FIELD = np.random.default_rng(5).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
Jetson = Callable[..., Path]


def test_the_worker_is_python_3_6() -> None:
    ast.parse(WORKER.read_text(), feature_version=(3, 6))
    vermin = pytest.importorskip("vermin", reason="vermin, which knows what came with which Python, is not installed")
    _, python_3 = vermin.visit(WORKER.read_text()).minimum_versions()
    assert python_3 <= (3, 6)


def test_the_worker_needs_the_standard_library_and_one_engines_own() -> None:
    tree = ast.parse(WORKER.read_text())
    names = {node.names[0].name.split(".")[0] if isinstance(node, ast.Import) else str(node.module).split(".")[0]
             for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"tensorrt", "ai_edge_litert", "tflite_runtime", "numpy"}
    bare = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(node.names[0].name.split(".")[0] in sys.stdlib_module_names for node in bare
               if isinstance(node, ast.Import))


@pytest.mark.parametrize("version", VERSIONS)
def test_each_tensorrt_is_asked_in_its_own_words_and_reproduces_the_goldens(version: str, jetson: Jetson,
                                                                           jetson_bundle: Bundle) -> None:
    jetson(version)
    if version == VERSIONS[-1]:  # it takes half precision from the model alone, and this one is float32
        jetson_bundle = Bundle(jetson_bundle.path, jetson_bundle.manifest.model_copy(update={"precision": "fp32"}),
                               {m.name: jetson_bundle.read(m.name) for m in jetson_bundle.manifest.members})
    with closing(open_engine(jetson_bundle)) as engine, closing(open_engine(jetson_bundle, "onnx")) as cpu:
        assert (engine.name, replay(jetson_bundle, engine)) == ("tensorrt", [])
        np.testing.assert_array_equal(engine.infer(FIELD).embedding, cpu.infer(FIELD).embedding)


def test_a_failing_gpu_is_named_replaced_by_the_cpu_and_taken_back_without_building_again(
        jetson: Jetson, jetson_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    cuda = jetson(VERSIONS[1])
    with closing(supervise(jetson_bundle)) as engine:
        before = engine.infer(FIELD)
        assert "building for Orin (stub)" in capsys.readouterr().err
        cuda.write_text("719")  # CUDA_ERROR_LAUNCH_FAILED
        answer = engine.infer(FIELD)
        cuda.unlink()
        assert (answer.engine, answer.faults) == ("onnx for tensorrt", ("accelerator-lost", "engine-on-cpu"))
        np.testing.assert_allclose(answer.probs, before.probs, atol=1e-6)
        end = time.monotonic() + 20
        while engine.faults and time.monotonic() < end:
            engine.attend()
            time.sleep(0.05)
        assert (engine.infer(FIELD).faults, engine.name) == ((), "tensorrt")
        assert "building" not in capsys.readouterr().err


def test_no_gpu_no_tensorrt_and_no_driver_are_told_apart(jetson: Jetson, jetson_bundle: Bundle,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = jetson(VERSIONS[3])
    assert tensorrt.present() == [f"TensorRT {VERSIONS[3]}"]
    cuda.write_text("100")  # CUDA_ERROR_NO_DEVICE
    with pytest.raises(EngineFault, match="cuInit answered 100") as caught:
        tensorrt.present()
    assert caught.value.fault.name == "accelerator-absent"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    with pytest.raises(BackendMissing, match=r"libcuda\.so\.1.*sudo apt install nvidia-l4t-cuda"):
        tensorrt.present()
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(BackendMissing, match="sudo apt install python3-libnvinfer"):
        tensorrt.present()
    with pytest.raises(BackendMissing, match="python3-libnvinfer"):
        open_engine(jetson_bundle)


def test_an_engine_file_that_cannot_be_loaded_is_told(jetson: Jetson, jetson_bundle: Bundle) -> None:
    jetson(VERSIONS[2], fails="load")
    with pytest.raises(EngineError, match="not compatible"):
        open_engine(jetson_bundle)


def test_the_worker_explains_itself() -> None:
    done = subprocess.run([sys.executable, WORKER, "--help"], capture_output=True, text=True, check=True)
    assert "tensorrt" in done.stdout
