"""The real tensorrt engine and its child, on stand-ins of every TensorRT and a stub of the CUDA driver."""

import ast
import shutil
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
from alledge.device.build_engine import BUILDER
from alledge.device.engine import open_engine, tensorrt
from alledge.device.engine._child import Child
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


@pytest.mark.parametrize("safe_path", ["", "1"])
def test_the_worker_finds_libraries_on_the_path_and_none_beside_itself(jetson: Jetson, jetson_bundle: Bundle,
                                                                       monkeypatch: pytest.MonkeyPatch,
                                                                       safe_path: str) -> None:
    """With `python -P` the first folder is not the worker's own, but that of the stand-in."""
    jetson(VERSIONS[0])
    monkeypatch.setenv("PYTHONSAFEPATH", safe_path)
    with closing(open_engine(jetson_bundle)) as engine:
        assert engine.infer(FIELD).probs.shape == (4,)
    beside = "import runpy, sys; from contextlib import suppress; sys.argv = ['worker.py', '--help']\n" \
             f"with suppress(SystemExit): runpy.run_path({str(WORKER)!r}, run_name='__main__')\n" \
             f"assert {str(WORKER.parent)!r} not in sys.path"
    subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(WORKER.parent)!r})\n{beside}"],
                   check=True, capture_output=True)


def test_the_worker_explains_itself() -> None:
    done = subprocess.run([sys.executable, WORKER, "--help"], capture_output=True, text=True, check=True)
    assert "tensorrt" in done.stdout


OLD_STANDIN = '''
import ctypes

__version__ = "8.2.1"


class Logger:
    ERROR = 1

    def __init__(self, least):
        pass


class Float:
    name = "FLOAT"


class Runtime:
    def __init__(self, log):
        pass

    def deserialize_cuda_engine(self, content):
        return Engine() if content == b"engine" else None


class Engine:
    num_bindings = 2

    def get_binding_name(self, index):
        return ("sum", "image")[index]

    def binding_is_input(self, index):
        return index == 1

    def get_binding_shape(self, index):
        return ((1, 2), (1, 3))[index]

    def get_binding_dtype(self, index):
        return Float

    def create_execution_context(self):
        return self

    def execute_async_v2(self, bindings, stream_handle):
        numbers = (ctypes.c_float * 3).from_address(bindings[1])
        (ctypes.c_float * 2).from_address(bindings[0])[:] = [sum(numbers), max(numbers)]
        return True
'''


@pytest.mark.parametrize("python", ["python3.6", "python3.8"])
def test_the_worker_runs_in_the_pythons_of_jetpack_4_and_5(python: str, stub_cuda: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself, in that interpreter, with a stand-in of TensorRT 8.2 that needs nothing else."""
    found = shutil.which(python)
    if found is None or subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"no {python} that runs on PATH")
    assert b"usage" in subprocess.run([found, BUILDER, "--help"], capture_output=True, check=True).stdout
    (tmp_path / "tensorrt.py").write_text(OLD_STANDIN)
    (tmp_path / "model.engine").write_bytes(b"engine")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stub_cuda))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(Child("tensorrt", tmp_path / "model.engine", (python, str(WORKER)))) as child:
        for numbers in ((1, 2, 3), (4, 5, 7)):
            child.inputs[0][...] = numbers
            child.ask()
            assert child.outputs[0].tolist() == [[sum(numbers), max(numbers)]]
    (tmp_path / "model.engine").write_bytes(b"no engine")
    with pytest.raises(EngineFault, match=r"TensorRT 8\.2\.1 cannot load"):
        Child("tensorrt", tmp_path / "model.engine", (python, str(WORKER)))
