"""Engines: which one runs what, integers in and out, and that no nonsense gets past them."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alledge.bundle import Bundle, write_bundle
from alledge.device.engine import coral, open_engine, tflite
from alledge.device.engine._tensors import pick, to_real, to_stored
from alledge.device.selftest import replay
from alledge.errors import BundleRefused, EngineError, UsageError
from alledge.manifest import TensorSpec
from alledge.preprocess import Preprocessing, prepare_field
from alledge.quantisation import stored_input
from alledge.synthetic import draw_field


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 128), ("int8", 0)])
def test_integers_round_clip_and_come_back(dtype: Any, zero: int) -> None:
    spec = TensorSpec(name="x", shape=(1, 5), dtype=dtype, scale=1 / 127.5, zero_point=zero)
    real = np.array([-9.0, -0.5, 0.0, 0.5, 9.0], np.float32)
    stored = to_stored(real, spec)
    assert (stored.dtype.name, stored.shape) == (dtype, (1, 5))
    limits = np.iinfo(dtype)
    assert stored[0, 0] == limits.min
    assert stored[0, -1] == limits.max
    np.testing.assert_allclose(to_real(stored, spec)[1:4], real[1:4], atol=0.51 / 127.5)


@pytest.mark.parametrize("preprocessing", [
    Preprocessing(size=64), Preprocessing(size=64, nuclei=True),
    Preprocessing(size=64, scale=(0.017, 0.0175, 0.0174), offset=(-2.1, -2.0, -1.8)),
    Preprocessing(size=64, segment="stain", scale=(1.0,) * 3, offset=(-103.9, -116.8, -123.7), nuclei=True)])
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 127), ("int8", -1)])
def test_looked_up_integers_are_those_of_the_real_numbers(preprocessing: Preprocessing, dtype: Any, zero: int) -> None:
    prepared = prepare_field(draw_field("pre_b", 3, 96).rgb, preprocessing)
    reach = float(np.abs(prepared.tensor).max())
    spec = TensorSpec(name="image", shape=(1, *prepared.tile.shape), dtype=dtype, scale=reach / 120, zero_point=zero)
    found = stored_input(prepared, spec)
    assert (found.dtype.name, found.shape) == (dtype, prepared.tile.shape)
    assert np.array_equal(to_stored(found, spec), to_stored(prepared.tensor, spec))
    assert stored_input(prepared, spec.model_copy(update={"dtype": "float32"})) is prepared.tensor


def test_tensors_are_found_by_name_then_by_shape_and_never_guessed() -> None:
    spec = TensorSpec(name="probs", shape=(1, 4), dtype="float32")
    assert pick(spec, [("other", (1, 4), "float32"), ("probs", (1, 4), "float32")]) == 1
    assert pick(spec, [("a", (1, 8), "float32"), ("b", (1, 4), "float32")]) == 1
    for found in ([("a", (1, 4), "float32"), ("b", (1, 4), "float32")], [("probs", (1, 4), "uint8")]):
        with pytest.raises(BundleRefused, match="disagree"):
            pick(spec, found)


def test_int8_runs_as_the_interpreter_itself_says(tflite_bundle: Bundle) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=tflite_bundle.model)
    interpreter.allocate_tensors()
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.float32)
    tensor = pixels / np.float32(127.5) - np.float32(1)
    details = interpreter.get_input_details()[0]
    scale, zero = details["quantization"]
    interpreter.set_tensor(details["index"], np.clip(np.round(tensor[None] / scale + zero), 0, 255).astype(np.uint8))
    interpreter.invoke()
    wanted = {d["name"]: (interpreter.get_tensor(d["index"])[0].astype(float) - d["quantization"][1])
              * d["quantization"][0] for d in interpreter.get_output_details()}
    with closing(open_engine(tflite_bundle)) as engine:
        answer = engine.infer(tensor)
    np.testing.assert_allclose(answer.probs, wanted[tflite_bundle.manifest.probs.name], atol=1e-6)
    np.testing.assert_allclose(answer.embedding, wanted[tflite_bundle.manifest.embedding.name], atol=1e-6)


def test_nan_is_named_and_refused(tmp_path: Path, bundle_of: Any, onnx_of: Any) -> None:
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(nan_below=0.0), probabilities=[0.25] * 4)
    with closing(open_engine(bundle)) as engine:
        assert engine.infer(np.full((64, 64, 3), 0.5, np.float32)).probs.sum() == pytest.approx(1, abs=1e-5)
        with pytest.raises(EngineError, match=r"sum to 1, received \[nan, nan, nan, nan\]"):
            engine.infer(np.full((64, 64, 3), -0.5, np.float32))
        with pytest.raises(EngineError, match="received 8 numbers, 8 of them not finite"):
            engine.infer(np.full((64, 64, 3), np.nan, np.float32))


@pytest.mark.parametrize(("engine", "name", "error", "said"), [
    ("onnx", "tflite", UsageError, "cannot run a onnx bundle"),
    ("onnx", "tensorflow", UsageError, "is unknown"),
])
def test_wrong_or_absent_engines(tmp_path: Path, bundle_of: Any, onnx_of: Any, engine: str, name: str | None,
                                 error: type[Exception], said: str) -> None:
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(), engine, probabilities=[0.25] * 4)
    with pytest.raises(error, match=said):
        open_engine(bundle, name)


def test_coral_bundles(tmp_path: Path, bundle_of: Any, tflite_model: bytes) -> None:
    plain = bundle_of(tmp_path / "a.alledge", tflite_model, "coral", target="coral", compiled=False,
                      probabilities=[0.25] * 4)
    with pytest.raises(BundleRefused, match=r"not compiled.*--finish.*with --engine tflite"):
        open_engine(plain)
    with closing(open_engine(plain, "tflite")) as engine:
        assert engine.infer(np.zeros((64, 64, 3), np.float32)).probs.shape == (4,)
    compiled = bundle_of(tmp_path / "b.alledge", tflite_model, "coral", target="coral", compiled=True,
                         probabilities=[0.25] * 4)
    with pytest.raises(BundleRefused, match="engine coral only"):
        open_engine(compiled, "tflite")


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_a_model_that_is_none_is_refused(tmp_path: Path, bundle_of: Any, tflite_model: bytes, engine: str) -> None:
    specs = {} if engine == "onnx" else {"input": TensorSpec(name="i", shape=(1, 64, 64, 3), dtype="float32")}
    good = bundle_of(tmp_path / "a.alledge", tflite_model, "tflite")
    broken = Bundle(good.path, good.manifest.model_copy(update={"engine": engine, **specs}),
                    {good.manifest.model: b"not a model at all"})
    with pytest.raises(BundleRefused, match="does not load"):
        open_engine(broken)


def test_a_manifest_that_contradicts_its_preprocessing_is_refused(tmp_path: Path, bundle_of: Any,
                                                                 onnx_of: Any) -> None:
    wrong = TensorSpec(name="image", shape=(1, 3, 64, 64), dtype="float32")
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(), probabilities=[0.25] * 4, input=wrong)
    with pytest.raises(BundleRefused, match=r"of shape \[1, 64, 64, 3\]"):
        open_engine(bundle)


def test_a_scale_that_floats_do_not_have_excuses_nothing(tmp_path: Path, bundle_of: Any, onnx_of: Any) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(onnx_of(unsure=True))
    model.graph.node[-1].CopyFrom(onnx.helper.make_node("Sigmoid", ["logits"], ["probs"]))
    claimed = TensorSpec(name="probs", shape=(1, 4), dtype="float32", scale=1.0)
    bundle = bundle_of(tmp_path / "b.alledge", model.SerializeToString(), probabilities=[0.25] * 4, probs=claimed)
    with closing(open_engine(bundle)) as engine, pytest.raises(EngineError, match="sum to 1"):
        engine.infer(np.zeros((64, 64, 3), np.float32))


@pytest.mark.parametrize("scale", [0.02, 1.0, float("nan")])
def test_probabilities_in_coarse_steps_are_refused(tflite_bundle: Bundle, scale: float) -> None:
    manifest = tflite_bundle.manifest
    coarse = manifest.model_copy(update={"probs": manifest.probs.model_copy(update={"scale": scale})})
    with pytest.raises(BundleRefused, match=r"steps of 1/64 or finer|no quantisation scale"):
        open_engine(Bundle(tflite_bundle.path, coarse, {manifest.model: tflite_bundle.model}))


def test_threads_are_bounded(onnx_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="1 to 64"):
        open_engine(onnx_bundle, threads=0)


def test_onnx_runtime_tells_nobody_anything(onnx_bundle: Bundle, tmp_path: Path) -> None:
    program = ("import sys; from alledge.bundle import Bundle; from alledge.device.engine import open_engine; "
               "open_engine(Bundle.open(sys.argv[1])).close()")
    clean = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    subprocess.run([sys.executable, "-c", program, onnx_bundle.path], check=True,
                   env={**clean, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert list(tmp_path.rglob("*")) == []  # its telemetry leaves a device id and a queue of reports there


def test_a_split_bundle_runs_its_two_networks_as_one(split_bundle: Bundle, tflite_bundle: Bundle) -> None:
    tensor = np.random.default_rng(2).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    with closing(open_engine(split_bundle, "tflite")) as split, closing(open_engine(tflite_bundle)) as whole:
        answer, wanted = split.infer(tensor), whole.infer(tensor)
        np.testing.assert_allclose(answer.probs, wanted.probs, atol=0.03)  # the same weights, rounded elsewhere
        assert replay(split_bundle, split) == []


def test_the_head_of_a_compiled_split_bundle_runs_here(split_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trunk's child is stood in for by the CPU, which runs the uncompiled one."""
    class Trunk(tflite.Network):
        def __init__(self, engine: str, model: bytes, image: TensorSpec, wanted: Any, threads: int) -> None:
            super().__init__(split_bundle.path, model, threads, [image], wanted)

        def close(self) -> None:
            pass

    monkeypatch.setattr(coral, "ChildNetwork", Trunk)
    compiled = Bundle(split_bundle.path, split_bundle.manifest.model_copy(update={"compiled": True}),
                      {m.name: split_bundle.read(m.name) for m in split_bundle.manifest.members})
    with closing(open_engine(compiled)) as engine:
        assert (engine.name, replay(split_bundle, engine)) == ("coral", [])


def test_a_split_bundle_without_its_head_is_refused(split_bundle: Bundle, tmp_path: Path) -> None:
    members = {m.name: split_bundle.read(m.name) for m in split_bundle.manifest.members if m.name != "head.tflite"}
    with pytest.raises(BundleRefused, match=r"lacks head\.tflite"):
        write_bundle(tmp_path / "headless.alledge", split_bundle.manifest, members)
    head = split_bundle.manifest.head
    assert head is not None
    other = head.model_copy(update={"inputs": [head.inputs[0].model_copy(update={"shape": (1, 2, 2, 8)})]})
    manifest = split_bundle.manifest.model_copy(update={"head": other})
    with pytest.raises(BundleRefused, match="expected tensor"):
        open_engine(Bundle(split_bundle.path, manifest, {}), "tflite")
    manifest = split_bundle.manifest.model_copy(update={"head": head.model_copy(update={"inputs": head.inputs * 2})})
    with pytest.raises(BundleRefused, match="expected a head of 1 inputs"):
        open_engine(Bundle(split_bundle.path, manifest, {}), "tflite")
