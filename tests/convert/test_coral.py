"""The Edge TPU: its table, its compiler (played by a stand-in that calls itself one), the ladder, and finishing."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alledge.bundle import Bundle, write_bundle
from alledge.convert import edgetpu_compiler as compiling
from alledge.convert import ladder
from alledge.convert.cli import convert
from alledge.convert.conversion import Conversion, convert_run
from alledge.convert.edgetpu_compiler import compile_model, find_compiler
from alledge.convert.edgetpu_log import merged, read_report
from alledge.convert.edgetpu_rules import why_refused
from alledge.convert.finish import finish
from alledge.convert.issue import Issue
from alledge.convert.lint import lint
from alledge.convert.options import Options
from alledge.convert.tflite_graph import OperatorInfo, TensorInfo
from alledge.convert.trained import open_trained
from alledge.device import inspection
from alledge.device.engine import open_engine
from alledge.device.selftest import replay
from alledge.errors import BackendMissing, DataError, GateNotMet, UsageError
from alledge.quiet import quiet
from alledge.signing import new_key

from .stand_in_compiler import BEHIND, LIMITED, MAPPED, VERSION

SCRIPT = Path(__file__).with_name("stand_in_compiler.py")


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], Path]:
    """An executable `edgetpu_compiler` that behaves as its mode says."""
    def make(mode: str) -> Path:
        return write_stand_in(tmp_path, mode)
    return make


def write_stand_in(folder: Path, mode: str) -> Path:
    path = folder / mode / "edgetpu_compiler"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(SCRIPT))} {mode} \"$@\"\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def split(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversion, list[ladder.Attempt]]:
    """A conversion for which the compiler takes nothing but the trunk, with all that was tried."""
    folder = tmp_path_factory.mktemp("split")
    climbed: list[ladder.Attempt] = []

    def climb(*arguments: Any) -> list[ladder.Attempt]:
        climbed.extend(ladder.climb(*arguments))
        return climbed

    with pytest.MonkeyPatch.context() as patch, quiet():
        patch.setattr("alledge.convert.coral.climb", climb)
        options = Options(compiler=write_stand_in(folder, "no_attention"))
        done = convert_run(trained_run, "coral", folder / "split.alledge", options, lambda line: None)
    return done, climbed


def test_every_rung_is_the_same_function_and_is_recorded(split):
    done, attempts = split
    assert [attempt.rung for attempt in attempts] == ["table", "replicated", "tokens", "split"]
    assert all(attempt.difference <= 1e-4 and not attempt.lint.refused for attempt in attempts)
    assert [attempt.holds for attempt in attempts] == [False, False, False, True]
    recorded = done.bundle.manifest.metrics["ladder"]
    assert [step["rung"] for step in recorded] == ["table", "replicated", "tokens", "split"]
    assert "operations on the CPU" in recorded[0]["reason"]
    assert json.loads(json.dumps(done.to_json()))["ladder"] == recorded


def test_forms_differ_in_the_broadcasts_that_they_need(split):
    def broadcasts(attempt: ladder.Attempt) -> int:
        from alledge.convert.tflite_graph import operators

        return sum(any(t.shape != o.outputs[0].shape for t in o.inputs) for o in operators(attempt.content)
                   if o.op in ("MUL", "SUB"))

    _, (table, replicated, tokens, trunk) = split
    assert broadcasts(replicated) == broadcasts(trunk) == 0 < broadcasts(table)
    assert {row.op for row in tokens.lint.rows}.isdisjoint({"REDUCE_MAX"})
    assert all({"BATCH_MATMUL", "SUM"}.isdisjoint({row.op for row in a.lint.rows}) for a in split[1])


def test_every_form_passes_the_gate_in_integers(split, trained_run):
    from alledge.convert.check import compare
    from alledge.convert.tflite_run import kernels
    from alledge.convert.trained import predict, tensors

    with quiet():
        trained = open_trained(trained_run)
        before = predict(trained, trained.held_out)
    chosen = np.arange(0, len(trained.held_out.truth), 4)
    images = tensors(trained.held_out.pixels[chosen], trained.record.preprocessing)
    for attempt in split[1]:
        for run in kernels(attempt.content, attempt.head).values():
            found = compare(before.rows(chosen), run(images), trained.held_out.truth[chosen])
            assert found.agreement >= 0.98, attempt.rung
            assert found.accuracy.delta >= -0.01, attempt.rung


@pytest.mark.parametrize(("mode", "rung"), [("whole", 0), ("no_broadcast", 1), ("no_tables", 2), ("no_attention", 3)])
def test_the_ladder_stops_at_the_first_form_that_the_compiler_takes_whole(split, stand_in, monkeypatch, mode, rung):
    _, attempts = split
    ready = iter(attempts)
    compiler = find_compiler(stand_in(mode))

    def attempt(*arguments: Any) -> ladder.Attempt:
        made = next(ready)
        return replace(made, compilation=compile_model(compiler, made.content))

    monkeypatch.setattr(ladder, "_attempt", attempt)
    monkeypatch.setattr(ladder, "_rungs", lambda model: [(a.rung, None) for a in attempts])
    tried = ladder.climb(type("Run", (), {"model": None}), compiler, False)
    assert [a.rung for a in tried] == [a.rung for a in attempts[:rung + 1]]


def test_a_compiler_in_the_current_folder_is_found(stand_in, monkeypatch):
    script = stand_in("whole")
    monkeypatch.chdir(script.parent)
    found = find_compiler(Path(script.name))
    assert found is not None
    assert found.path == script


def test_a_split_bundle_has_its_head_and_names_its_stand_in(split):
    manifest = split[0].bundle.manifest
    names = {member.name for member in manifest.members}
    assert {"model_edgetpu.tflite", "head.tflite", "edgetpu_compiler.log"} <= names
    assert manifest.compiled is True
    assert manifest.compiler == VERSION
    assert "stand-in" in split[0].bundle.read("edgetpu_compiler.log").decode()
    assert any("proves nothing" in line for line in split[0].warnings)
    assert (manifest.fallback, split[0].bundle.cpu_model) == ("model.tflite", split[1][-1].content)
    with closing(open_engine(split[0].bundle, "tflite")) as engine:
        assert replay(split[0].bundle, engine) == []
    rows = {row.mapped for row in split[0].converted.operations}
    assert rows == {True, False}  # the trunk, as the stand-in says, and the head


def test_goldens_of_a_split_bundle_replay_on_a_device(split, trained_run, tmp_path, monkeypatch):
    """Not compiled, so that this machine's CPU can run both parts."""
    attempts = [replace(split[1][-1], compilation=None)]
    monkeypatch.setattr("alledge.convert.coral.climb", lambda *arguments: attempts)
    monkeypatch.setattr("alledge.convert.coral.find_compiler", lambda path: None)
    with quiet():
        done = convert_run(trained_run, "coral", tmp_path / "split.alledge", Options(), lambda line: None)
    with closing(open_engine(done.bundle, "tflite")) as engine:
        assert replay(done.bundle, engine) == []
    assert done.bundle.manifest.compiled is False


def test_nothing_that_maps_is_a_refusal_with_a_way_out(split, stand_in, monkeypatch):
    compiler = find_compiler(stand_in("nothing"))
    left = [replace(a, compilation=compile_model(compiler, a.content)) for a in split[1][::3]]
    ready = iter(left * 2)
    monkeypatch.setattr(ladder, "_attempt", lambda *arguments: next(ready))
    monkeypatch.setattr(ladder, "_rungs", lambda model: [(a.rung, None) for a in left])
    run = type("Run", (), {"model": None})
    with pytest.raises(GateNotMet, match=r"\(table, split\): the compiler made 1 subgraph .*Way out: accept .*--allow"):
        ladder.climb(run, compiler, False)
    assert ladder.climb(run, compiler, True)[-1].rung == "split"  # fewest left to the CPU


@pytest.mark.parametrize(("mode", "words"), [
    ("crash", "Internal compiler error"), ("nonsense", "no TFLite model"), ("liar", "says 1 subgraphs and wrote 0"),
])
def test_a_compiler_that_fails_or_lies_is_not_believed(conversion, stand_in, mode, words):
    done = compile_model(find_compiler(stand_in(mode)), conversion("coral").bundle.model)
    assert words in done.failure
    assert not done.whole
    assert done.content == b""


def test_a_compiler_that_hangs_is_stopped_with_its_children(conversion, stand_in, monkeypatch):
    monkeypatch.setattr(compiling, "_SECONDS", 1)
    monkeypatch.setattr(compiling, "_GRACE", 1.0)
    done = compile_model(find_compiler(stand_in("hang")), conversion("coral").bundle.model)
    assert "no answer within 2 s" in done.failure


def test_two_subgraphs_are_not_whole(conversion, stand_in):
    done = compile_model(find_compiler(stand_in("two")), conversion("coral").bundle.model)
    assert done.report.subgraphs == 2
    assert not done.whole
    assert (done.report.cached, done.report.streamed) == (2506097, 42752)


def test_a_compiler_that_is_none_or_too_old_is_refused(stand_in, tmp_path, monkeypatch):
    with pytest.raises(BackendMissing, match=r"version 15\.0.* is too old, expected 16\.0"):
        find_compiler(stand_in("old"))
    with pytest.raises(UsageError, match="expected an executable edgetpu_compiler"):
        find_compiler(tmp_path / "absent")
    with pytest.raises(UsageError, match="answer --version"):
        find_compiler(Path("/bin/echo"))
    foreign = tmp_path / "edgetpu_compiler"
    foreign.write_bytes(b"\x7fELF" + bytes(60))
    foreign.chmod(0o755)
    monkeypatch.setattr(compiling.platform, "machine", lambda: "aarch64")
    with pytest.raises(BackendMissing, match="runs on x86-64 Linux only, and this machine is aarch64"):
        find_compiler(foreign)


def test_it_is_found_on_the_path(stand_in, monkeypatch):
    monkeypatch.setenv("PATH", str(stand_in("whole").parent), prepend=os.pathsep)
    found = find_compiler(None)
    assert (found.version, found.genuine) == (VERSION, False)


def test_finishing_compiles_in_place_and_keeps_the_rest(conversion, stand_in, tmp_path, capsys):
    path = tmp_path / "microscope.alledge"
    path.write_bytes(conversion("coral").bundle.path.read_bytes())
    convert(finish=path, compiler=stand_in("whole"), json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["compiled"], document["compiler"]) == (True, VERSION)
    assert {row["mapped"] for row in document["ops"]} == {True}
    manifest, before = Bundle.open(path).manifest, conversion("coral").bundle.manifest
    for key in ("goldens", "calibration", "input", "probs", "tolerance"):
        assert getattr(manifest, key) == getattr(before, key)
    assert not any("not compiled" in line for line in document["warnings"])
    assert not any("--finish" in step or "once BUNDLE is compiled" in step for step in manifest.metrics["next"])
    step = manifest.metrics["ladder"][-1]
    assert (step["holds"], step["compiler"]["subgraphs"]) == (True, 1)
    finished = Bundle.open(path)
    assert finished.cpu_model == conversion("coral").bundle.model != finished.model
    assert len({member.sha256 for member in manifest.members}) == len(manifest.members)  # nothing is stored twice
    with closing(open_engine(finished, "tflite")) as engine:
        assert replay(finished, engine) == []
    page = (tmp_path / "microscope-edgetpu.html").read_text()
    assert VERSION in page
    assert "RESEARCH USE ONLY" in page
    assert "alledge bench microscope.alledge" in page
    with pytest.raises(UsageError, match="is compiled already"):
        convert(finish=path, compiler=stand_in("whole"))


@pytest.mark.parametrize("mode", ["no_broadcast", "two", "crash"])
def test_finishing_what_the_compiler_does_not_take_whole_changes_nothing(conversion, stand_in, tmp_path, mode):
    path = tmp_path / "microscope.alledge"
    path.write_bytes(conversion("coral").bundle.path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(GateNotMet, match="the bundle is unchanged"):
        convert(finish=path, compiler=stand_in(mode))
    assert path.read_bytes() == before


@pytest.mark.parametrize(("mode", "words"), [
    ("no_broadcast", r"made 1 subgraph and left \d+ operations on the CPU \(MUL, .*REDUCE_MAX"),
    ("two", r"made 2 subgraphs and left 0 operations on the CPU$"),
])
def test_a_finished_bundle_that_was_not_taken_whole_says_so_from_then_on(conversion, stand_in, tmp_path, mode, words):
    path = tmp_path / "microscope.alledge"
    path.write_bytes(conversion("coral").bundle.path.read_bytes())
    convert(finish=path, compiler=stand_in(mode), allow_cpu_fallback=True)
    finished = Bundle.open(path)
    (warning,) = [line for line in finished.manifest.metrics["warnings"] if "not taken whole" in line]
    assert re.search(words, warning)
    step = finished.manifest.metrics["ladder"][-1]
    assert step["holds"] is False
    assert re.search(words, step["reason"])
    assert step["compiler"]["subgraphs"] == (2 if mode == "two" else 1)
    assert any("not taken whole" in line for line in inspection.lines(finished))


@pytest.mark.parametrize("option", [{"precision": "fp16"}, {"board_memory": 4.0}, {"allow_drop": True},
                                    {"data": Path("x")}, {"split": Path("x.csv")}])
def test_finishing_refuses_options_that_would_do_nothing(tmp_path, option):
    name = next(iter(option)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{name} is not for --finish"):
        convert(finish=tmp_path / "absent.alledge", **option)


def test_finishing_needs_a_coral_bundle_and_nothing_else(conversion, tmp_path):
    with pytest.raises(UsageError, match="this one is for cpu"):
        convert(finish=conversion("cpu").bundle.path)
    with pytest.raises(UsageError, match="neither a run nor --target"):
        convert(run=tmp_path, finish=conversion("coral").bundle.path)
    with pytest.raises(UsageError, match="--target is missing"):
        convert(run=tmp_path)


def test_the_log_is_read_as_the_compiler_writes_it():
    log = ("Edge TPU Compiler version 16.0.384591198\nInput: model.tflite\nOutput: model_edgetpu.tflite\n\n"
           "Operator                       Count      Status\n\n"
           f"CONV_2D                        3          {MAPPED}\n"
           f"MUL                            1          {LIMITED}\n"
           f"MUL                            2          {BEHIND}\n"
           "RESIZE_NEAREST_NEIGHBOR        12         Mapped to Edge TPU\n")
    report = read_report(log, "Number of Edge TPU subgraphs: 1\nOff-chip memory used for streaming uncached model "
                              "parameters: 1.70MiB\n")
    assert (report.version, report.subgraphs, report.on_cpu, report.whole) == ("16.0.384591198", 1, 3, False)
    assert (report.cached, report.streamed) == (None, 1782579)


def test_the_compilers_counts_become_verdicts_only_where_they_are_certain(conversion, stand_in):
    rows = lint(conversion("coral").bundle.model).rows
    done = compile_model(find_compiler(stand_in("no_broadcast")), conversion("coral").bundle.model)
    verdicts = {row.op: row for row in merged(rows, done.report)}
    assert verdicts["REDUCE_MAX"].mapped is False  # behind the product that is not mapped
    assert verdicts["CONV_2D"].mapped == "unknown"  # some before it, some behind it
    assert "without saying which" in verdicts["CONV_2D"].reason
    assert "mend the first operation" in verdicts["REDUCE_MAX"].remedy
    fewer = replace(done.report, statuses=tuple(s for s in done.report.statuses if s.op != "SUB"))
    assert {row.mapped for row in merged(rows, fewer) if row.op == "SUB"} == {"unknown"}


def test_the_lint_tells_layer_shape_version_share_and_memory(conversion):
    found = lint(conversion("coral").bundle.model)
    attention = [row for row in found.rows if row.layer == "attention_table"]
    assert {"MUL", "REDUCE_MAX", "RSQRT"} <= {row.op for row in attention}
    assert all(row.version >= 1 and "\N{RIGHTWARDS ARROW}" in row.shapes and row.reason for row in found.rows)
    assert (found.macs_before, found.streamed, found.refused) == (1.0, 0, ())
    keras = lint(conversion("cpu").bundle.model)
    first = keras.refused[0]
    assert 0 < keras.macs_before < 1
    assert keras.to_json()["first_blocking"] == f"{first.op} of layer {first.layer!r}"
    assert all(row.remedy for row in keras.refused)


def tensor(*shape: int, constant: bool = False, values: tuple[int, ...] = ()) -> TensorInfo:
    return TensorInfo("network/dense/MatMul", shape, "INT8", constant, False, 1, values)


@pytest.mark.parametrize(("op", "inputs", "out", "settings", "words"), [
    ("GELU", [tensor(1, 4)], tensor(1, 4), {}, "not in the Edge TPU table"),
    ("MEAN", [tensor(1, 7, 7, 8), tensor(1, constant=True, values=(3,))], tensor(1, 7, 7), {}, "averages over axes"),
    ("PAD", [tensor(1, 7, 7, 8), tensor(4, 2, constant=True, values=(0, 0, 0, 0, 0, 0, 0, 1))], tensor(1, 7, 7, 9), {},
     "pads axes"),
    ("STRIDED_SLICE", [tensor(1, 8), tensor(2), tensor(2), tensor(2, constant=True, values=(1, 2))], tensor(1, 4), {},
     "steps"),
    ("MAX_POOL_2D", [tensor(1, 8, 8, 4)], tensor(1, 4, 4, 4), {"fusedActivationFunction": 1}, "activation is fused"),
    ("DEPTHWISE_CONV_2D", [tensor(1, 8, 8, 4), tensor(1, 3, 3, 4, constant=True)], tensor(1, 8, 8, 4),
     {"dilationWFactor": 2, "dilationHFactor": 2}, "dilation"),
    ("FULLY_CONNECTED", [tensor(49, 8), tensor(4, 8, constant=True)], tensor(49, 4), {}, "more than one row"),
    ("ADD", [tensor(2, 4, 4, 8), tensor(2, 4, 4, 8)], tensor(2, 4, 4, 8), {}, "innermost"),
    ("SOFTMAX", [tensor(1, 20_000)], tensor(1, 20_000), {}, "not one row"),
    ("REDUCE_MAX", [tensor(1, 8), tensor(1, constant=True, values=(0,))], tensor(8), {}, "over the batch"),
])
def test_each_limit_of_the_table_is_held(op, inputs, out, settings, words):
    reason, remedy = why_refused(OperatorInfo(op, 1, tuple(inputs), (out,), settings))
    assert words in reason
    assert remedy


def test_a_version_that_the_compiler_does_not_know_is_refused():
    operator = OperatorInfo("CONV_2D", 6, (tensor(1, 8, 8, 4), tensor(4, 1, 1, 4, constant=True)),
                            (tensor(1, 8, 8, 4),), {})
    assert "version 6" in why_refused(operator)[0]
    assert why_refused(replace(operator, version=5)) == ("", "")


def unlike(run: Path, layer: Callable[[Any], Any]) -> None:
    """Save a network with something else behind its first convolution."""
    import keras

    from alledge.runfolder import MODEL

    from .conftest import network

    model = network()
    features = keras.Model(model.input, model.layers[3].output)
    x = layer(features.output)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D()(x)
    embedding = keras.layers.Dense(16, activation="relu", name="embedding")(x)
    keras.Model(model.input, {"probs": keras.layers.Dense(4, activation="softmax", name="probs")(embedding),
                              "embedding": embedding}).save(run / MODEL)


def test_an_unsupported_layer_is_named_with_its_remedy(run_copy):
    import keras

    unlike(run_copy, keras.layers.Activation("gelu", name="bend"))
    with pytest.raises(GateNotMet, match=r"of layer 'bend': not in the Edge TPU table.*ReLU.*--allow-cpu-fallback"):
        convert(run=run_copy, target="coral")
    assert not list(run_copy.glob("*.alledge"))
    convert(run=run_copy, target="coral", allow_cpu_fallback=True, allow_drop=True)
    (path,) = run_copy.glob("*.alledge")
    assert any("layer 'bend'" in line for line in Bundle.open(path).manifest.metrics["warnings"])


@pytest.mark.parametrize(("kind", "target", "said", "words"), [
    ("GRU", "cpu", DataError, r"layer 'odd' \(GRU\) has no 8-bit form: replace it by attention"),
    ("LayerNormalization", "coral", GateNotMet, r"of layer 'odd': expected static 8-bit tensors"),
])
def test_a_layer_without_an_integer_form_is_named(run_copy, kind, target, said, words):
    import keras

    odd = getattr(keras.layers, kind)(*([8] if kind == "GRU" else []), name="odd")
    unlike(run_copy, lambda x: odd(keras.layers.Reshape((-1, x.shape[-1]))(x) if kind == "GRU" else x))
    with pytest.raises(said, match=words):
        convert(run=run_copy, target=target)


def test_finishing_a_signed_bundle_needs_a_key(conversion, stand_in, tmp_path):
    made = conversion("coral").bundle
    path, key = tmp_path / "signed.alledge", new_key(tmp_path / "lab.pem")
    write_bundle(path, made.manifest, {m.name: made.read(m.name) for m in made.manifest.members}, key)
    with pytest.raises(UsageError, match="sign it again with --sign"):
        finish(path, None, Options(compiler=stand_in("whole")))
    done = finish(path, None, Options(compiler=stand_in("whole"), issue=Issue(release=7, key=key)))
    assert done.signed_by([key.public])
    assert (done.manifest.release, done.manifest.compiled) == (7, True)
