"""Engines are built as each TensorRT wants it, kept, and never used for anything else than they were built for."""

import ast
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from alledge.bundle import Bundle
from alledge.device import build_engine as starting
from alledge.device import tensorrt_build as building
from alledge.errors import BackendMissing, EngineError, UsageError

from .conftest import make_bundle, write_standin
from .tensorrt_standin import API, VERSIONS, standin

OLD, FIRST_NAMED, LAST_8, TEN, ELEVEN = VERSIONS
NANO = "NVIDIA Tegra X1 sm_53"
BUILD = Path(building.__file__)


def onnx_file(kind: str = "fp32") -> bytes:
    """image -> probs, embedding in float32, half precision between casts, or with one pair of Q/DQ."""
    kinds = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "int8": TensorProto.FLOAT}
    nodes = {
        "fp32": [helper.make_node("Relu", ["image"], ["m"])],
        "fp16": [helper.make_node("Cast", ["image"], ["h"], to=TensorProto.FLOAT16),
                 helper.make_node("Relu", ["h"], ["m"])],
        "int8": [helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"]),
                 helper.make_node("DequantizeLinear", ["q", "s", "z"], ["m"])],
    }[kind]
    nodes += [helper.make_node("Cast", ["m"], [name], to=TensorProto.FLOAT) for name in ("probs", "embedding")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in
              ("image", "probs", "embedding")]
    graph = helper.make_graph(nodes, "n", values[:1], values[1:],
                              [numpy_helper.from_array(np.float32(1), "s"), numpy_helper.from_array(np.int8(0), "z")],
                              value_info=[helper.make_tensor_value_info("m", kinds[kind], [1, 4])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


class Cuda:
    """A stand-in for libcuda: a Jetson Nano, or a driver that answers every call with an error."""

    def __init__(self, status: int = 0, name: bytes = b"NVIDIA Tegra X1") -> None:
        self._status, self._name = status, name

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self._status

    def cuDeviceGet(self, device: object, ordinal: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetName(self, buffer: ctypes.Array, size: int, device: object) -> int:  # noqa: N802
        buffer.value = self._name
        return 0

    def cuDeviceGetAttribute(self, out: object, attribute: int, device: object) -> int:  # noqa: N802
        out._obj.value = {75: 5, 76: 3}[attribute]
        return 0


@pytest.fixture
def board(monkeypatch, tmp_path, capsys):
    """A board with a stand-in TensorRT and GPU. `board(version, precision, ...)` runs the builder there."""
    model = tmp_path / "model.onnx"

    def run(version: str = OLD, precision: str = "fp16", *options: str, kind: str | None = None, code: int = 0,
            gpu: Cuda | None = None, **faults) -> SimpleNamespace:
        monkeypatch.setitem(sys.modules, "tensorrt", standin(version, **faults))
        monkeypatch.setattr(ctypes, "CDLL", lambda name: gpu or Cuda())
        model.write_bytes(onnx_file(kind or precision))
        arguments = [str(model), "--precision", precision, "--cache", str(tmp_path / "engines"), *options]
        assert building.main(arguments) == code
        said = capsys.readouterr()
        document = json.loads(said.out) if not code else {}
        plan = json.loads(Path(document["engine"]).read_bytes()) if document else None
        return SimpleNamespace(**document, plan=plan, err=said.err, folder=tmp_path / "engines")

    return run


def test_the_file_is_python_3_6():
    ast.parse(BUILD.read_text(), feature_version=(3, 6))
    vermin = pytest.importorskip("vermin", reason="vermin, which knows what came with which Python, is not installed")
    _, python_3 = vermin.visit(BUILD.read_text()).minimum_versions()
    assert python_3 <= (3, 6)


def test_it_imports_nothing_but_the_standard_library_and_tensorrt():
    names = {node.names[0].name.split(".")[0] if isinstance(node, ast.Import) else node.module.split(".")[0]
             for node in ast.walk(ast.parse(BUILD.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"tensorrt"}


@pytest.mark.parametrize(("version", "precision", "kind", "flags"), [
    (OLD, "fp16", "fp32", ["FP16"]), (OLD, "fp32", "fp32", []), (FIRST_NAMED, "fp16", "fp16", ["FP16"]),
    (FIRST_NAMED, "int8", "int8", ["FP16", "INT8"]), (LAST_8, "int8", "int8", ["FP16", "INT8"]),
    (TEN, "fp16", "fp16", ["FP16"]), (TEN, "int8", "int8", ["FP16", "INT8"]), (ELEVEN, "fp16", "fp16", []),
    (ELEVEN, "int8", "int8", [])])
def test_each_version_is_asked_in_its_own_words(board, version, precision, kind, flags):
    done = board(version, precision, kind=kind)
    assert done.built
    assert done.plan["flags"] == flags
    assert done.plan["workspace"] == 256 * 2**20
    assert (done.tensorrt, done.gpu, done.precision) == (version, NANO, precision)
    assert done.bytes == Path(done.engine).stat().st_size
    assert "a warning of the builder" in done.err
    assert "a tactic" not in done.err


def test_the_stand_ins_lack_what_their_versions_lack():
    config = standin(OLD).IBuilderConfig()
    with pytest.raises(AttributeError):
        config.set_memory_pool_limit(0, 1)
    with pytest.raises(AttributeError):
        standin(TEN).IBuilderConfig().max_workspace_size = 1
    assert not hasattr(standin(ELEVEN).BuilderFlag, "FP16")
    assert not hasattr(standin(ELEVEN).NetworkDefinitionCreationFlag, "EXPLICIT_BATCH")
    assert not hasattr(standin(OLD), "MemoryPoolType")
    assert VERSIONS == ("8.2.1", "8.5.2", "8.6.1", "10.3.0", "11.4.0.106")


def test_an_engine_is_built_once_and_found_again(board):
    first, again = board(), board()
    assert (first.built, again.built, first.engine) == (True, False, again.engine)
    record = json.loads(Path(first.engine).with_suffix(".json").read_text())
    assert record["engine_sha256"] == hashlib.sha256(Path(first.engine).read_bytes()).hexdigest()
    assert {path.suffix for path in first.folder.iterdir()} == {".engine", ".json", ""}  # "": the lock
    assert not list(first.folder.glob("*.part"))


def test_another_model_gpu_tensorrt_or_precision_is_another_engine(board):
    built = [board(), board(kind="int8"), board(gpu=Cuda(name=b"Orin")), board(LAST_8), board(precision="fp32")]
    assert all(one.built for one in built)
    assert len({one.engine for one in built}) == len(built)


def _cut(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-1])


def _foreign(engine: Path) -> None:
    record = json.loads(engine.with_suffix(".json").read_text())
    engine.with_suffix(".json").write_text(json.dumps({**record, "gpu": "another"}))


@pytest.mark.parametrize(("damage", "reason"), [
    (_cut, "the file is damaged"), (lambda engine: engine.write_bytes(b""), "the file is damaged"),
    (lambda engine: engine.with_suffix(".json").unlink(), "record is missing"),
    (lambda engine: engine.with_suffix(".json").write_text("{"), "record is missing or damaged"),
    (lambda engine: engine.with_suffix(".json").write_text("[]"), "built for something else"),
    (lambda engine: engine.with_suffix(".json").write_bytes(b"\xff"), "record is missing or damaged"),
    (_foreign, "built for something else"), (lambda engine: engine.unlink(), "none yet")])
def test_a_damaged_or_foreign_engine_is_built_again(board, damage, reason):
    whole = board()
    damage(Path(whole.engine))
    again = board()
    assert again.built
    assert reason in again.err
    assert not board().built


@pytest.mark.parametrize(("version", "precision", "kind", "faults", "words"), [
    (OLD, "int8", "int8", {"fast": ("fp16",)}, "no fast int8 arithmetic"),
    (TEN, "int8", "fp32", {}, "quantises nothing"),
    (ELEVEN, "fp16", "fp32", {}, "float32 throughout.*--target jetson-orin --precision fp16"),
    (OLD, "fp16", "fp32", {"fails": "build"}, "built no engine: no implementation for node"),
    (TEN, "fp16", "fp16", {"fails": "load"}, "cannot be loaded again: The engine plan file is not"),
    (LAST_8, "fp16", "fp16", {"fails": "names"}, "expected tensors embedding, image, probs, the engine has image")])
def test_what_cannot_be_built_is_one_sentence_and_nothing_is_kept(board, version, precision, kind, faults, words):
    done = board(version, precision, kind=kind, code=1, **faults)
    assert re.search(f"^error: .*{words}", done.err, re.M)
    assert {path.name for path in done.folder.iterdir()} == {".lock"}


def test_a_file_that_is_no_model_gets_all_of_the_parsers_reasons(board, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "onnx_file", lambda kind: b"not a model")
    assert "Failed to parse ONNX model; and a second reason" in board(code=1).err


def test_no_gpu_and_no_driver_have_the_exit_code_of_a_missing_back_end(board, monkeypatch, tmp_path, capsys):
    assert "the CUDA driver answered 100" in board(code=4, gpu=Cuda(status=100)).err
    monkeypatch.undo()
    with pytest.raises(building.BuildError, match="no CUDA driver") as caught:
        building.describe_gpu()
    assert caught.value.code == 4


def test_without_tensorrt_the_sentence_says_which_python_has_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert building.main([str(tmp_path), "--precision", "fp16", "--cache", str(tmp_path)]) == 4
    assert "/usr/bin/python3" in capsys.readouterr().err


def test_a_board_short_of_memory_is_told_before_anything_is_built(board):
    done = board(OLD, "fp16", "--needs", "99999999", code=1)
    assert "MiB free and" in done.err
    assert not list(done.folder.glob("*.engine"))
    assert board(OLD, "fp16", "--needs", "99999999", "--ignore-memory").built


@pytest.mark.parametrize(("version", "banner", "expected"), [
    ((8, 2, 1), "v8201", "--workspace=256 --buildOnly --int8 --fp16"),
    ((8, 5, 2), "v8502", "--memPoolSize=workspace:256 --buildOnly --int8 --fp16"),
    ((8, 6, 1), "v8601", "--memPoolSize=workspace:256 --skipInference --int8 --fp16"),
    ((10, 3, 0), "v100300", "--memPoolSize=workspace:256 --skipInference --int8 --fp16"),
    ((11, 4, 0), "v110400", "--memPoolSize=workspace:256 --skipInference")])
def test_trtexec_is_driven_with_the_flags_of_its_version(tmp_path, version, banner, expected):
    tool = _trtexec(tmp_path, banner)
    assert building.trtexec_version(str(tool)) == version
    command = building.trtexec_command(str(tool), version, "m.onnx", "m.engine", "int8", 256)
    assert command == [str(tool), "--onnx=m.onnx", "--saveEngine=m.engine", *expected.split()]


def _trtexec(folder: Path, banner: str, does: str = 'echo plan > "${2#--saveEngine=}"') -> Path:
    """A stand-in for trtexec: its banner, then `does` with the real command line."""
    path = folder / "trtexec"
    path.write_text(f'#!/bin/sh\necho "&&&& RUNNING TensorRT.trtexec [TensorRT {banner}] # $@"\n'
                    f'[ "$1" = --help ] && exit 0\n{does}\n')
    path.chmod(0o755)
    return path


def test_trtexec_builds_into_the_same_cache(board, tmp_path):
    tool = _trtexec(tmp_path, "v8201", 'printf \'"plan"\' > "${2#--saveEngine=}"')
    done = board(OLD, "fp16", "--trtexec", str(tool))
    assert (done.built, done.tensorrt, done.plan) == (True, "8.2.1", "plan")
    assert not board(OLD, "fp16", "--trtexec", str(tool)).built


@pytest.mark.parametrize(("does", "words"), [("echo [E] no memory; exit 1", "failed (1): .*[E] no memory"),
                                             ("exit 0", "failed (0)")])
def test_a_trtexec_that_fails_or_writes_nothing_is_told_with_its_last_lines(board, tmp_path, does, words):
    done = board(OLD, "fp16", "--trtexec", str(_trtexec(tmp_path, "v8201", does)), code=1)
    assert all(word in done.err for word in words.split(".*"))
    assert not list(done.folder.glob("*.engine"))


def test_a_program_that_is_no_trtexec_is_refused(board, tmp_path):
    assert "cannot be run" in board(OLD, "fp16", "--trtexec", str(tmp_path / "absent"), code=4).err
    assert "does not say its version" in board(OLD, "fp16", "--trtexec", "/bin/true", code=4).err


@pytest.fixture(scope="module")
def orin(stub_cuda, tmp_path_factory) -> dict[str, str]:
    """The environment of a process that finds a stub CUDA driver and a stand-in TensorRT 10.3."""
    folder = write_standin(tmp_path_factory.mktemp("orin"), TEN)
    return {**os.environ, "LD_LIBRARY_PATH": str(stub_cuda), "PYTHONPATH": str(folder)}


@pytest.fixture
def orin_bundle(tmp_path) -> Bundle:
    return make_bundle(tmp_path / "orin.alledge", onnx_file("int8"), "tensorrt", target="jetson-orin",
                       precision="int8", probabilities=[0.25] * 4)


def test_the_command_builds_keeps_and_finds(orin, orin_bundle, tmp_path):
    command = [sys.executable, "-m", "alledge", "device", "build-engine", orin_bundle.path, "--cache",
               tmp_path / "engines"]
    first = subprocess.run([*command, "--json"], env=orin, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert (document["built"], document["gpu"]) == (True, "Orin (stub) sm_87")
    assert document["onnx_sha256"] == hashlib.sha256(orin_bundle.model).hexdigest()
    again = subprocess.run(command, env=orin, capture_output=True, text=True, check=True)
    assert "built before" in again.stdout
    assert "Traceback" not in first.stderr + again.stderr


def test_a_bundle_for_another_board_is_refused(onnx_bundle):
    with pytest.raises(UsageError, match="expected a bundle for a Jetson, received one for onnx"):
        starting.build_engine(onnx_bundle)


def _python(folder: Path, does: str) -> Path:
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("does", "kind", "words"), [
    ("echo a log line >&2; echo 'error: no TensorRT' >&2; exit 4", BackendMissing, "^no TensorRT$"),
    ("echo 'error: too large' >&2; exit 1", EngineError, "^too large$"),
    ("kill -9 $$", EngineError, "lack of memory")])
def test_what_the_builder_says_last_is_the_error(orin_bundle, tmp_path, does, kind, words):
    with pytest.raises(kind, match=words):
        starting.build_engine(orin_bundle, tmp_path / "engines", python=_python(tmp_path, does))


def test_an_interpreter_that_is_not_there_is_named(orin_bundle, tmp_path):
    with pytest.raises(UsageError, match=r"--python .*absent: cannot be run"):
        starting.build_engine(orin_bundle, tmp_path, python=tmp_path / "absent")


def test_the_estimate_of_the_conversion_is_what_the_board_is_asked_for(tmp_path):
    bundle = make_bundle(tmp_path / "b.alledge", onnx_file("int8"), "tensorrt", target="jetson-orin", precision="int8",
                         probabilities=[0.25] * 4, metrics={"gates": {"board_memory": {"build_mib": 1234}}})
    said = _python(tmp_path, 'echo "$@" >&2; exit 1')
    with pytest.raises(EngineError, match="--needs 1234 --workspace 64"):
        starting.build_engine(bundle, tmp_path, ["--workspace", "64"], said)


WHEELS = {"8.6.1": "tensorrt-bindings", "10.3.0": "tensorrt-cu12-bindings", "11.4.0.106": "tensorrt-cu12-bindings"}


@pytest.mark.parametrize("version", WHEELS)
def test_the_record_is_what_the_real_bindings_offer(version, tmp_path):
    """The bindings themselves, imported over empty libraries; nothing of TensorRT runs."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler here for the empty libraries that the bindings link to")
    got = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d",
                          tmp_path, f"{WHEELS[version]}=={version}"], capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"{WHEELS[version]} {version} cannot be downloaded here for this Python")
    root = Path(__file__).parents[2]
    out = tmp_path / "api.json"
    subprocess.run([sys.executable, root / "benchmarks" / "tensorrt_api.py", out, "--wheels", tmp_path], check=True)
    assert json.loads(out.read_text())[version]["members"] == API[version]["members"]
