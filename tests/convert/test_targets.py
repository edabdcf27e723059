import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from alledge.bundle import Bundle
from alledge.convert import lint as linting
from alledge.convert import tflite_run as judging
from alledge.convert.targets import TARGETS, parse_target
from alledge.convert.tflite_graph import min_runtime_version, operators
from alledge.convert.tflite_run import kernels
from alledge.convert.trained import open_trained, predict
from alledge.device.engine import _tensors as on_board
from alledge.errors import GateNotMet, UsageError
from alledge.images import decode_image
from alledge.preprocess import prepare_field, tensor_digest
from alledge.quiet import quiet

from .conftest import convert_quietly

INT8 = ("cpu", "coral")


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_gives_a_bundle_that_passes_its_gates(conversion, target):
    done = conversion(target)
    manifest = Bundle.open(done.bundle.path).manifest
    assert manifest.target == target
    assert all(c.accuracy.before > 0.9 and c.agreement >= 0.98 for c in done.comparisons.values())  # chance: 0.25
    assert all(gate.get("passed", True) for gate in done.gates.values())
    assert (manifest.input.name, manifest.probs.shape, manifest.embedding.shape) == ("image", (1, 4), (1, 16))
    assert manifest.input.shape == (1, 64, 64, 3)
    assert manifest.calibration.gate.threshold != 1.0  # the run's, fitted again on what the converted network says
    assert manifest.metrics["allow_drop"] is False


def test_the_fixture_is_hard_enough_to_show_damage(conversion, trained_run):
    with quiet():
        trained = open_trained(trained_run)
        confidence = predict(trained, trained.held_out).probs.max(1)
    assert confidence.min() < 0.9
    assert conversion("cpu").comparisons["xnnpack"].max_abs > 0.005


@pytest.mark.parametrize("target", TARGETS)
def test_the_json_document_has_the_keys_of_the_contract(conversion, target):
    document = json.loads(json.dumps(conversion(target).to_json(), allow_nan=False))
    assert list(document) == ["bundle", "target", "bytes", "compiled", "compiler", "ops", "agreement", "accuracy",
                              "gates", "warnings", *(["ladder"] if target == "coral" else [])]
    assert document["compiled"] is False
    assert set(document["agreement"]) == {"n", "top1", "max_abs"}
    assert set(document["accuracy"]) == {"float", "converted", "delta_ci95"}
    assert all(set(row) == {"op", "count", "mapped", "reason", "remedy", "layer", "version",
                                "shapes"} for row in document["ops"])


@pytest.mark.parametrize("target", INT8)
def test_int8_models_are_uint8_static_and_integer_throughout(conversion, target):
    done = conversion(target)
    assert done.bundle.manifest.input.dtype == done.bundle.manifest.probs.dtype == "uint8"
    assert set(done.comparisons) == {"xnnpack", "builtin"}
    found = operators(done.bundle.model)
    tensors_ = [t for o in found for t in (*o.inputs, *o.outputs)]
    assert {t.dtype for t in tensors_} <= {"INT8", "UINT8", "INT32"}
    assert not any(t.dynamic for t in tensors_)
    assert all(o.inputs[1].scales == 1 for o in found if o.op == "FULLY_CONNECTED" and o.inputs[1].constant)


@pytest.mark.parametrize("target", INT8)
def test_the_input_grid_keeps_neighbouring_pixel_values_apart(conversion, target):
    spec = conversion(target).bundle.manifest.input
    pixels = np.arange(256) / np.float32(127.5) - 1
    stored = np.rint(pixels / spec.scale + spec.zero_point).clip(0, 255)
    assert len(np.unique(stored)) >= 254


def test_coral_uses_only_operations_of_the_table_and_claims_no_mapping(conversion):
    done = conversion("coral")
    names = {o.op for o in operators(done.bundle.model)}
    assert done.bundle.manifest.compiled is False
    assert names.isdisjoint({"BATCH_MATMUL", "SUM", "TRANSPOSE"})
    assert {row.mapped for row in done.converted.operations} == {"unknown"}
    assert tuple(map(int, min_runtime_version(done.bundle.model).split("."))) <= (2, 5, 0)
    assert any("--finish" in line for line in done.warnings)


def test_the_lint_refuses_the_attention_of_target_cpu(conversion):
    refused = {row.op for row in linting.lint(conversion("cpu").bundle.model).refused}
    assert {"BATCH_MATMUL", "EXP", "FULLY_CONNECTED"} <= refused


def test_target_cpu_has_softmax_over_single_rows_only(conversion):
    """Over many rows TFLite's int8 kernels give other bytes on ARM than on x86-64 (docs/results/arm64.md)."""
    found = operators(conversion("cpu").bundle.model)
    assert [op.outputs[0].shape for op in found if op.op == "SOFTMAX"] == [(1, 4)]
    assert sum(op.op == "EXP" for op in found) == 1


def test_target_cpu_is_for_tflite_runtime_too(conversion):
    """Its last release is 2.14; docs/engines.md promises that it is used where LiteRT is absent."""
    assert tuple(map(int, min_runtime_version(conversion("cpu").bundle.model).split("."))) <= (2, 14, 0)


@pytest.mark.parametrize(("fault", "word"), [({"dynamic": True}, "dynamic"), ({"dtype": "FLOAT32"}, "FLOAT32")])
def test_a_float_or_dynamic_tensor_is_not_for_an_edge_tpu(conversion, monkeypatch, fault, word):
    first, *rest = operators(conversion("coral").bundle.model)
    spoilt = replace(first, outputs=(replace(first.outputs[0], **fault),))
    monkeypatch.setattr(linting, "operators", lambda content: (spoilt, *rest))
    with pytest.raises(GateNotMet, match=word):
        linting.check_static_integer(b"")


@pytest.mark.parametrize("target", TARGETS)
def test_goldens_are_drawn_prepared_and_answered_as_the_manifest_says(conversion, target):
    done = conversion(target)
    manifest = done.bundle.manifest
    assert len(manifest.goldens) == 4
    for golden in manifest.goldens:
        field = prepare_field(decode_image(done.bundle.read(golden.image), golden.image), manifest.preprocessing)
        assert tensor_digest(field.tensor) == golden.tensor_sha256
        for run in done.converted.kernels.values():
            answer = run([field.tensor[None]]).probs[0]
            assert np.abs(answer - golden.probabilities).max() <= manifest.tolerance


def test_the_gate_judges_with_the_arithmetic_of_the_board():
    assert judging.to_stored is on_board.to_stored
    assert judging.to_real is on_board.to_real


def test_the_model_in_the_bundle_is_the_one_that_was_judged(conversion):
    done = conversion("cpu")
    assert done.bundle.model == done.converted.content
    assert len(done.bundle.model) > 10_000
    assert set(kernels(done.bundle.model)) == set(done.comparisons)


@pytest.mark.parametrize("target", ["cpu", "coral", "onnx", "jetson-orin"])
def test_the_same_run_gives_the_same_bytes(conversion, trained_run, tmp_path, target):
    again = convert_quietly(trained_run, target, tmp_path / "again.alledge")
    assert again.bundle.path.read_bytes() == conversion(target).bundle.path.read_bytes()


def test_onnx_bytes_do_not_depend_on_pythons_hash_seed(trained_run, tmp_path):
    """Within one process sets have one order; a user's two conversions are two processes."""
    written = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.alledge"
        command = [sys.executable, "-m", "alledge", "convert", trained_run, "--target", "onnx", "--out", out]
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=False,
                              timeout=120)
        assert done.returncode == 0, done.stderr
        written.append(out.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize(("name", "target"), [("jetson", "jetson-nano"), ("edgetpu", "coral"),
                                              ("engine", "jetson-nano"), ("tflite", "cpu"), ("cpu", "cpu")])
def test_names_of_other_tools_are_understood(name, target):
    assert parse_target(name) == target


def test_an_unknown_target_is_refused_with_the_choice():
    with pytest.raises(UsageError, match="expected one of cpu, coral"):
        parse_target("toaster")
