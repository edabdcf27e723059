"""The real coral engine, its child and LiteRT's real loader, on a stub Edge TPU that breaks in every way by name."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alledge.bundle import Bundle
from alledge.config import BundleSettings, DeviceConfig
from alledge.device import worker
from alledge.device.bench.measure import bench
from alledge.device.bench.plan import Plan
from alledge.device.doctor import Check, examine
from alledge.device.engine import _child, coral, open_engine
from alledge.device.faults import FAULTS, EngineFault
from alledge.device.selftest import replay
from alledge.device.supervised import PROBE_S, RESTARTS, Supervised, supervise
from alledge.errors import BackendMissing, BundleRefused, EngineError

from .conftest import stub_bundle

FIELD = np.clip(np.random.default_rng(7).normal((0.9, -0.6, 0.3), 0.2, (64, 64, 3)), -1, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_child, "ANSWER_S", 2.0)
    monkeypatch.setattr(_child, "START_S", 20.0)


@pytest.fixture
def engine(coral_bundle: Bundle) -> Iterator[Any]:
    with closing(open_engine(coral_bundle)) as opened:
        yield opened


def fault_of(engine: Any) -> EngineFault:
    with pytest.raises(EngineFault) as caught:
        engine.infer(FIELD)
    return caught.value


def test_it_reproduces_the_goldens_and_the_cpu_model_agrees(engine: Any, coral_bundle: Bundle) -> None:
    assert engine.name == "coral"
    assert replay(coral_bundle, engine) == []
    with closing(open_engine(coral_bundle, "tflite")) as cpu:
        there, here = engine.infer(FIELD), cpu.infer(FIELD)
    assert there.probs.argmax() == here.probs.argmax()
    assert np.abs(there.probs - here.probs).max() < coral_bundle.manifest.tolerance


@pytest.mark.parametrize(("told", "fault", "detail"), [
    ("segfault@2", "engine-crashed", "SIGSEGV"), ("abort@2", "engine-crashed", "SIGABRT"),
    ("exit@2", "engine-crashed", "exit code 3"), ("hang@2", "engine-stuck", "no answer within 0.4 s"),
    ("unplug@2", "accelerator-lost", "the device was unplugged"),
    ("shape@2", "engine-wrong-shape", "expected [1, 4], received [1, 3]"),
    ("garbage@2", "engine-no-distribution", "4 probabilities that sum to 1")])
def test_each_way_to_fail_has_its_name(edge_tpu: Callable[[str], None], engine: Any, told: str, fault: str,
                                       detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "engine-stuck":
        monkeypatch.setattr(_child, "ANSWER_S", 0.4)
    edge_tpu(told)
    engine.infer(FIELD)
    failure = fault_of(engine)
    assert (failure.fault.name, detail in str(failure)) == (fault, True), str(failure)


def test_numbers_that_are_none_have_their_name(edge_tpu: Callable[[str], None], tmp_path: Path) -> None:
    with closing(open_engine(stub_bundle(tmp_path / "floats.alledge", floats=True))) as engine:
        engine.infer(FIELD)
        edge_tpu("nan")
        assert fault_of(engine).fault.name == "engine-not-finite"


@pytest.mark.parametrize(("told", "fault", "detail"), [
    ("absent", "accelerator-absent", "Failed to load delegate"),
    ("refuse", "engine-not-started", "the executable does not fit this device"),
    ("segfault@0", "engine-not-started", "SIGSEGV"), ("hang@0", "engine-not-started", "no answer within 1 s")])
def test_an_engine_that_does_not_start_says_why(edge_tpu: Callable[[str], None], coral_bundle: Bundle, told: str,
                                                fault: str, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if told.startswith("hang"):
        monkeypatch.setattr(_child, "START_S", 1.0)
    edge_tpu(told)
    with pytest.raises(EngineFault) as caught:
        open_engine(coral_bundle)
    assert (caught.value.fault.name, detail in str(caught.value)) == (fault, True), str(caught.value)


def test_a_slow_accelerator_is_waited_for(edge_tpu: Callable[[str], None], engine: Any) -> None:
    edge_tpu("slow")
    assert engine.infer(FIELD).faults == ()


def test_a_missing_library_is_named_with_the_command_that_mends_it(stub_coral_bundle: Bundle) -> None:
    with pytest.raises(BackendMissing, match=r"libedgetpu\.so\.1.*sudo apt install libedgetpu1-std"):
        open_engine(stub_coral_bundle)
    with pytest.raises(BackendMissing, match="sudo apt install"):
        coral.present()


def test_a_damaged_model_is_the_bundles_fault_not_the_accelerators(coral_bundle: Bundle) -> None:
    broken = Bundle(coral_bundle.path, coral_bundle.manifest, {coral_bundle.manifest.model: b"not a model at all"})
    with pytest.raises(BundleRefused, match="convert it again"):
        open_engine(broken)


def test_an_accelerator_with_other_outputs_than_the_manifests_is_a_fault(coral_bundle: Bundle) -> None:
    embedding = coral_bundle.manifest.embedding.model_copy(update={"shape": (1, 9)})
    other = coral_bundle.manifest.model_copy(update={"embedding": embedding})
    with pytest.raises(EngineFault, match="wrong shape"):
        open_engine(Bundle(coral_bundle.path, other, {n.name: coral_bundle.read(n.name) for n in other.members}))


def test_an_earlier_answer_never_passes_for_this_fields(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says "done" and wrote nothing: the memory holds no answer any more."""
    engine.infer(FIELD)
    child = engine._engine._trunk._child
    with monkeypatch.context() as silent:
        silent.setattr(child, "_hear", lambda seconds: None)
        silent.setattr(child, "_questions", io.BytesIO())
        assert fault_of(engine).fault.name == "engine-no-distribution"


def test_an_answer_to_another_question_is_refused(engine: Any) -> None:
    engine.infer(FIELD)
    engine._engine._trunk._child._questions.write((99).to_bytes(8, "little"))
    failure = fault_of(engine)
    assert (failure.fault.name, "question 99" in str(failure)) == ("engine-failed", True)
    assert fault_of(engine).fault.name == "engine-crashed"  # killed: nothing late can follow


def test_closing_ends_the_child(engine: Any) -> None:
    process = engine._engine._trunk._child._process
    engine.close()
    assert process.returncode == 0


# From fault to fallback and back, with the real child.

@pytest.fixture
def supervised(coral_bundle: Bundle) -> Iterator[Supervised]:
    with closing(supervise(coral_bundle)) as opened:
        yield opened


def until(engine: Supervised, wanted: tuple[str, ...], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while engine.faults != wanted:
        assert time.monotonic() < end, engine.faults
        time.sleep(0.02)
        engine.attend()


def test_a_crash_costs_no_field_and_the_accelerator_comes_back(edge_tpu: Callable[[str], None],
                                                              supervised: Supervised) -> None:
    before = supervised.infer(FIELD)
    edge_tpu("segfault")
    answer = supervised.infer(FIELD)
    assert (answer.engine, answer.faults) == ("tflite for coral", ("engine-crashed", "engine-on-cpu"))
    assert np.abs(answer.probs - before.probs).max() < 0.05
    edge_tpu("ok")
    until(supervised, ())
    assert (supervised.infer(FIELD).faults, supervised.name) == ((), "coral")


def test_an_unplugged_stick_is_named_probed_and_taken_back(edge_tpu: Callable[[str], None], supervised: Supervised,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alledge.device.supervised.PROBE_S", 0.2)
    edge_tpu("unplug")
    assert supervised.infer(FIELD).faults == ("accelerator-lost", "engine-on-cpu")
    edge_tpu("absent")
    until(supervised, ("accelerator-absent", "engine-on-cpu"))
    assert supervised.infer(FIELD).faults == ("accelerator-absent", "engine-on-cpu")
    edge_tpu("ok")
    until(supervised, ())
    assert PROBE_S <= 10  # so that a stick is back within 15 s


def test_an_accelerator_that_crashes_again_and_again_is_given_a_rest(
        edge_tpu: Callable[[str], None], supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    edge_tpu("segfault@2")  # each child reproduces the golden, and dies of its first field
    for _ in range(RESTARTS):
        assert supervised.infer(FIELD).faults[:1] == ("engine-crashed",)
        until(supervised, ())
    monkeypatch.setattr("alledge.device.supervised.PROBE_S", 0.5)
    assert supervised.infer(FIELD).faults == ("engine-crashed", "engine-unsteady", "engine-on-cpu")
    supervised.attend()
    assert not supervised._opening
    edge_tpu("ok")
    until(supervised, ())
    assert supervised.infer(FIELD).engine == ""


def test_an_accelerator_that_comes_back_wrong_is_not_trusted(edge_tpu: Callable[[str], None],
                                                             supervised: Supervised) -> None:
    edge_tpu("segfault")
    supervised.infer(FIELD)
    edge_tpu("garbage")
    until(supervised, ("engine-no-distribution", "engine-on-cpu"))
    assert supervised.infer(FIELD).engine == "tflite for coral"


def test_plausible_and_wrong_probabilities_are_found_by_the_goldens(
        edge_tpu: Callable[[str], None], supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    edge_tpu("wrong")
    assert supervised.infer(FIELD).faults == ()  # one answer does not tell
    monkeypatch.setattr("alledge.device.supervised.PROVE_S", 0.0)
    answer = supervised.infer(FIELD)
    assert (answer.engine, answer.faults) == ("tflite for coral", ("engine-disagrees", "engine-on-cpu"))
    assert "probabilities differ by" in answer.detail


def test_without_a_stick_a_device_starts_on_the_cpu_and_without_a_cpu_model_not_at_all(
        edge_tpu: Callable[[str], None], coral_bundle: Bundle, tmp_path: Path) -> None:
    edge_tpu("absent")
    with closing(supervise(coral_bundle)) as engine:
        assert engine.infer(FIELD).faults == ("accelerator-absent", "engine-on-cpu")
    with pytest.raises(EngineFault, match="no accelerator found"):
        supervise(stub_bundle(tmp_path / "alone.alledge", fallback=False))


def test_a_device_that_is_killed_takes_a_hanging_child_along(edge_tpu: Callable[[str], None], coral_bundle: Bundle,
                                                            tmp_path: Path) -> None:
    program = ("import sys, numpy; from alledge.bundle import Bundle; from alledge.device.engine import open_engine;"
               "engine = open_engine(Bundle.open(sys.argv[1]));"
               "print(engine._engine._trunk._child._process.pid, flush=True);"
               "engine.infer(numpy.zeros((64, 64, 3), 'f4'))")
    edge_tpu("hang@1")
    with subprocess.Popen([sys.executable, "-c", program, coral_bundle.path], stdout=subprocess.PIPE) as device:
        assert device.stdout is not None
        child = int(device.stdout.readline())
        time.sleep(0.2)
        device.kill()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child outlived its device by 5 s")


def test_the_stub_is_found_as_a_stick_would_be(edge_tpu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch,
                                               tmp_path: Path) -> None:
    (tmp_path / "1-1").mkdir()
    (tmp_path / "1-1" / "idVendor").write_text("18d1\n")
    (tmp_path / "1-1" / "idProduct").write_text("9302\n")
    (tmp_path / "usb1").mkdir()
    (tmp_path / "apex_0").touch()
    monkeypatch.setattr(coral, "_USB", tmp_path)
    monkeypatch.setattr(coral, "_PCI", tmp_path)
    assert coral.sticks() == 2
    assert coral.present() == ["ai_edge_litert", "2 Edge TPU"]
    edge_tpu("absent")
    with pytest.raises(EngineFault, match=r"2 Edge TPU plugged in but not to be.*usermod -aG plugdev"):
        coral.present()


def test_doctor_says_what_mends_each_absence(edge_tpu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def row() -> Check:
        return next(check for check in examine(DeviceConfig()) if check.name == "engine coral")

    edge_tpu("ok")
    assert (row().ok, row().found) == (True, f"ai_edge_litert, {coral.sticks()} Edge TPU")
    edge_tpu("absent")
    assert (row().ok, row().fix) == (False, FAULTS["accelerator-absent"].remedy)
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert (row().ok, row().fix) == (False, "sudo apt install libedgetpu1-std")


def test_doctor_replays_the_goldens_on_the_accelerator_and_on_its_stand_in(
        edge_tpu: Callable[[str], None], coral_bundle: Bundle, tmp_path: Path) -> None:
    def rows(bundle: Bundle) -> list[tuple[bool, str]]:
        return [(c.ok, c.found) for c in examine(DeviceConfig(bundle=BundleSettings(path=bundle.path)))[-2:]]

    assert rows(coral_bundle) == [(True, "1 reproduced on coral"), (True, "1 reproduced on tflite")]
    edge_tpu("absent")
    (ok, found), spare = rows(coral_bundle)
    assert (ok, "no accelerator found" in found, spare) == (False, True, (True, "1 reproduced on tflite"))
    alone = stub_bundle(tmp_path / "alone.alledge", fallback=False)
    assert rows(alone)[1] == (False, "the bundle carries no model for a CPU")


def test_doctor_tells_how_an_uncompiled_bundle_is_finished(split_bundle: Bundle) -> None:
    accelerator, spare = examine(DeviceConfig(bundle=BundleSettings(path=split_bundle.path)))[-2:]
    assert not accelerator.ok
    assert accelerator.fix.startswith(f"alledge convert --finish {split_bundle.path} ")
    assert "--engine tflite" in accelerator.fix
    assert "again" not in accelerator.fix
    assert (spare.ok, spare.found) == (True, "1 reproduced on tflite")


def test_no_room_for_the_shared_memory_is_a_fault_not_a_signal(coral_bundle: Bundle,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(EngineFault, match=r"no room for its memory \(No space left"):
        open_engine(coral_bundle)


@pytest.mark.parametrize(("version", "counted"), [("2.0.0", 3), ("0.9.9", 1)])
def test_only_googles_pycoral_is_asked_for_sticks(version: str, counted: int, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pycoral" / "utils").mkdir(parents=True)
    (tmp_path / "pycoral" / "utils" / "edgetpu.py").write_text("def list_edge_tpus(): return ['a', 'b', 'c']\n")
    (tmp_path / f"pycoral-{version}.dist-info").mkdir()
    (tmp_path / f"pycoral-{version}.dist-info" / "METADATA").write_text(f"Name: pycoral\nVersion: {version}\n")
    (tmp_path / "apex_0").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(coral, "_USB", tmp_path)
    monkeypatch.setattr(coral, "_PCI", tmp_path)
    assert coral.sticks() == counted


def test_a_library_in_the_current_folder_is_none(stub_coral_bundle: Bundle, stub_library: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stub_library)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere:")  # as importing OpenCV leaves it
    with pytest.raises(BackendMissing):
        open_engine(stub_coral_bundle)


def saying(words: bytes) -> tuple[str, ...]:
    return sys.executable, "-c", f"import os, time; os.write(1, {words!r}); time.sleep(30)"


def test_a_worker_that_never_speaks_or_speaks_nonsense_does_not_start(coral_bundle: Bundle,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    for program, detail in ((("sleep", "30"), "exit code 1"), (("/no/such/python", "worker.py"), "No such file"),
                            (saying(b"a library says hello, at some length"), "instead of 0, in"),
                            (saying(worker.ANSWER.pack(0, 5) + b"hello"), "not understood"),
                            (saying(worker.ANSWER.pack(0, 2) + b"[]"), "description is not understood"),
                            (saying(worker.ANSWER.pack(0, 13) + b'{"fault":"?"}'), "does not start")):
        with pytest.raises(EngineFault, match=detail) as caught:
            _child.Child("coral", program=program)
        assert caught.value.fault.name == "engine-not-started"
    monkeypatch.setattr(_child, "START_S", 0.5)
    with pytest.raises(EngineFault, match=r"no answer within 0\.5 s"):
        _child.Child("coral", program=saying(b""))


def test_a_benchmark_never_measures_the_stand_in(edge_tpu: Callable[[str], None], coral_bundle: Bundle) -> None:
    edge_tpu("absent")
    config = DeviceConfig(bundle=BundleSettings(path=coral_bundle.path))
    with pytest.raises(EngineError, match="no accelerator found"):
        bench(config, Plan(frames=2, starts=1))
    edge_tpu("segfault@9")  # not before the golden and the field of a start, and some fields of the benchmark
    with pytest.raises(EngineError, match="the benchmark stopped at a field that failed: the engine died"):
        bench(config, Plan(frames=30, warm_up=0, starts=1))


def test_a_run_loses_no_field_to_a_crash_and_stores_who_answered(edge_tpu: Callable[[str], None], coral_bundle: Bundle,
                                                                alledge: Any, tmp_path: Path) -> None:
    edge_tpu("segfault@4")  # the golden, two fields, and then the crash; in each child
    done = alledge("run", coral_bundle.path, "--camera", "synthetic://?size=96", "--frames", 5, "--json", "--results",
                   tmp_path / "r.db", env={"TF_CPP_MIN_LOG_LEVEL": "3"})
    assert "Traceback" not in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5
    assert [row["engine"] for row in rows[:3]] == ["coral", "coral", "tflite for coral"]
    assert rows[2]["faults"] == ["engine-crashed", "engine-on-cpu"]
    assert all(row["probabilities"] and row["engine"] in ("coral", "tflite for coral") for row in rows)
