"""Real, tiny bundles for the device: an int8 TFLite network converted here and ONNX networks written by hand."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from alledge.bundle import Bundle, write_bundle
from alledge.calibration import Calibration
from alledge.device import build_engine
from alledge.device.engine import open_engine
from alledge.images import encode_png
from alledge.labels import LABELS
from alledge.manifest import FORMAT, Golden, Head, Manifest, TensorSpec
from alledge.preprocess import Preprocessing, prepare_field, tensor_digest
from alledge.synthetic import draw_field

from . import edgetpu_stub

SIZE = 64
WIDTH = 8
PREPROCESSING = Preprocessing(size=SIZE)

CONVERT = f"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import json, numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(0)
x = keras.Input((64, 64, 3), batch_size=1)
y = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(x)
embedding = keras.layers.Dense({WIDTH}, name="embedding")(keras.layers.GlobalAveragePooling2D()(y))
probs = keras.layers.Dense({len(LABELS)}, activation="softmax", name="probs")(embedding)
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
def converter_of(model):
    call = tf.function(lambda image: model(image)).get_concrete_function(tf.TensorSpec(model.inputs[0].shape))
    return tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(call)])
if sys.argv[2] == "head":
    open(sys.argv[1], "wb").write(converter_of(keras.Model(y, [probs, embedding])).convert())
    sys.exit()
converter = converter_of(keras.Model(x, y if sys.argv[2] == "trunk" else [probs, embedding]))
rng = np.random.default_rng(0)
converter.representative_dataset = lambda: ([rng.uniform(-1, 1, (1, 64, 64, 3)).astype("f4")] for _ in range(20))
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.uint8
open(sys.argv[1], "wb").write(converter.convert())
"""


@pytest.fixture(scope="session")
def tflite_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An int8 network 64x64 -> probs [1, 4], embedding [1, 8]."""
    return converted(tmp_path_factory.mktemp("tflite") / "model.tflite", "whole")


def converted(out: Path, part: str) -> bytes:
    """The network, its int8 `trunk` or its float `head`; made in a child, so that TensorFlow stays there."""
    pytest.importorskip("tensorflow", reason="makes the .tflite that these tests run")
    done = subprocess.run([sys.executable, "-c", CONVERT, str(out), part], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out.read_bytes()


def tensors_of(model: bytes) -> list[TensorSpec]:
    """The first input and the first output of a .tflite."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=model)
    interpreter.allocate_tensors()
    return [TensorSpec(name=d["name"], shape=tuple(int(n) for n in d["shape"]), dtype=np.dtype(d["dtype"]).name,
                       scale=float(d["quantization"][0]), zero_point=int(d["quantization"][1]))
            for d in (interpreter.get_input_details()[0], interpreter.get_output_details()[0])]


def onnx_model(nan_below: float | None = None, unsure: bool = False) -> bytes:
    """A float network of the same interface; NaN for pictures darker than `nan_below` (mean of the tensor)."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(4)
    weights = {"w": rng.normal(0, 2, (3, WIDTH)), "v": rng.normal(0, 0.0 if unsure else 2, (WIDTH, len(LABELS)))}
    constants = [numpy_helper.from_array(value.astype("f4"), name) for name, value in weights.items()]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "w"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "v"], ["logits"]),
        helper.make_node("Softmax", ["logits" if nan_below is None else "spoiled"], ["probs"], axis=1),
    ]
    if nan_below is not None:  # log of a negative number is NaN, and NaN times zero still is
        constants += [numpy_helper.from_array(np.array(v, "f4"), n) for n, v in (("limit", nan_below), ("zero", 0.0))]
        nodes[3:3] = [
            helper.make_node("ReduceMean", ["image"], ["brightness"], keepdims=0),
            helper.make_node("Sub", ["brightness", "limit"], ["above"]),
            helper.make_node("Log", ["above"], ["log"]),
            helper.make_node("Mul", ["log", "zero"], ["poison"]),
            helper.make_node("Add", ["logits", "poison"], ["spoiled"]),
        ]
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            {"image": [1, SIZE, SIZE, 3], "probs": [1, len(LABELS)], "embedding": [1, WIDTH]}.items()}
    graph = helper.make_graph(nodes, "tiny", [ends["image"]], [ends["probs"], ends["embedding"]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tflite_specs(model: bytes) -> dict[str, TensorSpec]:
    """The tensors of a .tflite, told apart by their width."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=model)
    interpreter.allocate_tensors()
    found = {}
    for details in [*interpreter.get_input_details(), *interpreter.get_output_details()]:
        shape = tuple(int(n) for n in details["shape"])
        role = "input" if len(shape) == 4 else "probs" if shape[1] == len(LABELS) else "embedding"
        scale, zero = details["quantization"]
        found[role] = TensorSpec(name=details["name"], shape=shape, dtype=np.dtype(details["dtype"]).name,
                                 scale=float(scale), zero_point=int(zero))
    return found


ONNX_SPECS = {
    "input": TensorSpec(name="image", shape=(1, SIZE, SIZE, 3), dtype="float32"),
    "probs": TensorSpec(name="probs", shape=(1, len(LABELS)), dtype="float32"),
    "embedding": TensorSpec(name="embedding", shape=(1, WIDTH), dtype="float32"),
}


def make_bundle(path: Path, model: bytes, engine: str = "onnx", /, **changes: Any) -> Bundle:
    """A bundle whose goldens are this very model's own answers (unless `probabilities` says otherwise)."""
    suffix = "onnx" if engine in ("onnx", "tensorrt") else "tflite"
    rgb = draw_field("pre_b", 3, 96).rgb
    prepared = prepare_field(rgb, PREPROCESSING)
    claimed = changes.pop("probabilities", None)
    more = changes.pop("more_members", {})
    golden = Golden(image="golden/g0.png", mask="golden/g0_mask.png", tensor_sha256=tensor_digest(prepared.tensor),
                    probabilities=claimed or [0.25] * 4)
    members = {f"model.{suffix}": model, golden.image: encode_png(rgb), golden.mask: encode_png(prepared.mask.pixels),
               **more}
    settings: dict[str, Any] = {
        "format": FORMAT, "target": "cpu" if suffix == "tflite" else "onnx", "engine": engine, "labels": list(LABELS),
        "preprocessing": PREPROCESSING, "calibration": Calibration(), "model": f"model.{suffix}", "tolerance": 0.02,
        "goldens": [golden], "metrics": {"accuracy": 0.5, "n": 8}, "provenance": {"made": "by a test"}, "members": [],
        **(tflite_specs(more.get("head.tflite", model)) if suffix == "tflite" else ONNX_SPECS), **changes,
    }
    if claimed is None:
        draft = write_bundle(path, Manifest(**settings), members)
        with closing(open_engine(draft, suffix)) as running:
            answer = running.infer(prepared.tensor).probs.tolist()
        settings["goldens"] = [golden.model_copy(update={"probabilities": answer})]
    return write_bundle(path, Manifest(**settings), members)


@pytest.fixture(scope="session")
def bundle_of() -> Callable[..., Bundle]:
    """`make_bundle(path, model, engine, **manifest changes)`."""
    return make_bundle


@pytest.fixture(scope="session")
def onnx_of() -> Callable[..., bytes]:
    """`onnx_model(nan_below)`."""
    return onnx_model


@pytest.fixture(scope="session")
def tflite_bundle(tmp_path_factory: pytest.TempPathFactory, tflite_model: bytes) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny.alledge", tflite_model, "tflite")


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("onnxruntime")
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny.alledge", onnx_model())


@pytest.fixture
def cut_film(tmp_path: Path) -> Path:
    """The first half of the bytes of a film of 30 frames of 96x96."""
    path = tmp_path / "cut.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (96, 96))
    for seed in range(30):
        film.write(cv2.cvtColor(draw_field("pre_b", seed, 96).rgb, cv2.COLOR_RGB2BGR))
    film.release()
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    return path


@pytest.fixture(scope="session")
def split_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network of `tflite_bundle` in two: an int8 trunk and a float head."""
    folder = tmp_path_factory.mktemp("split")
    trunk, head = (converted(folder / f"{part}.tflite", part) for part in ("trunk", "head"))
    image, features = tensors_of(trunk)
    return make_bundle(folder / "split.alledge", trunk, "coral", target="coral", compiled=False, input=image,
                       more_members={"head.tflite": head},
                       head=Head(model="head.tflite", features=[features], inputs=tensors_of(head)[:1]))


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stub of libedgetpu.so.1."""
    return edgetpu_stub.build(tmp_path_factory.mktemp("edgetpu"))


@pytest.fixture
def edge_tpu(stub_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A stub Edge TPU, plugged in; called with what it shall do from now on, e.g. "segfault@3" (edgetpu_stub.c)."""
    control = tmp_path / "edgetpu-stub"
    monkeypatch.setenv("EDGETPU_STUB", str(control))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stub_library))

    def tell(what: str) -> None:
        part = control.with_suffix(".part")
        part.write_text(what)
        part.replace(control)
    return tell


def stub_bundle(path: Path, floats: bool = False, fallback: bool = True) -> Bundle:
    """A compiled bundle for the stub Edge TPU, with the same network for a CPU beside it."""
    values = edgetpu_stub.weights()
    changes: dict[str, Any] = {"fallback": "model.tflite"} if fallback else {"probabilities": [0.25] * 4}
    return make_bundle(path, edgetpu_stub.plain(values, floats), "coral", target="coral", compiled=True,
                       compiler="stub for tests", model="model_edgetpu.tflite", tolerance=0.05,
                       more_members={"model_edgetpu.tflite": edgetpu_stub.compiled(values, floats)}, **changes)


@pytest.fixture(scope="session")
def stub_coral_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return stub_bundle(tmp_path_factory.mktemp("stub") / "stub.alledge")


@pytest.fixture
def coral_bundle(edge_tpu: Callable[[str], None], stub_coral_bundle: Bundle) -> Bundle:
    """For the stub Edge TPU, which is plugged in."""
    return stub_coral_bundle


@pytest.fixture(scope="session")
def stub_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stub of libcuda.so.1."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) here for the stub of the CUDA driver")
    folder = tmp_path_factory.mktemp("cuda")
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", folder / "libcuda.so.1",
                    Path(__file__).with_name("cuda_stub.c")], check=True)
    return folder


def write_standin(folder: Path, version: str, fails: str = "") -> Path:
    """A folder in which a process finds the stand-in of TensorRT `version` as its `tensorrt`."""
    (folder / "tensorrt.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport tensorrt_standin\n"
        f"globals().update(vars(tensorrt_standin.standin({version!r}, fails={fails!r})))\n")
    return folder


@pytest.fixture
def jetson(stub_cuda: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`jetson(version)`: this machine has a stub GPU and a stand-in TensorRT, for another Python than this one.

    Returns:
        the file in which a number makes the stub CUDA driver fail.
    """
    def set_up(version: str, fails: str = "") -> Path:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(stub_cuda))
        monkeypatch.setenv("PYTHONPATH", str(write_standin(tmp_path, version, fails)))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("CUDA_STUB", str(tmp_path / "cuda-stub"))
        monkeypatch.setattr(build_engine, "SYSTEM_PYTHON", Path(sys.executable))
        return tmp_path / "cuda-stub"
    return set_up


@pytest.fixture(scope="session")
def jetson_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "jetson.alledge", onnx_model(), "tensorrt",
                       target="jetson-nano", precision="fp16")


@pytest.fixture
def tensorrt_bundle(jetson: Callable[[str], Path], jetson_bundle: Bundle) -> Bundle:
    """For the stand-in of the Jetson Nano's TensorRT, which is installed."""
    jetson("8.2.1")
    return jetson_bundle
