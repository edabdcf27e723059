"""The supervised engine's policy, step by step: no thread, no clock, no sleep; the engines are scripted stand-ins."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alledge.device.engine import Output
from alledge.device.faults import FAULTS, EngineFault
from alledge.device.supervised import PROBE_S, PROVE_S, RESTARTS, WITHIN_S, Supervised, supervise
from alledge.errors import BackendMissing, EngineError

FIELD = np.zeros((4, 4, 3), np.float32)


class Scripted:
    """An engine that answers, or fails with what it is told."""

    def __init__(self, name: str = "coral") -> None:
        self.name, self.fault, self.closed = name, "", False

    def infer(self, tensor: Any) -> Output:
        assert not self.closed
        if self.fault:
            raise EngineFault(self.fault, "so it says")
        return Output(np.array([1, 0, 0, 0], np.float32), np.zeros(8, np.float32))

    def close(self) -> None:
        self.closed = True


class Bench:
    """A supervised engine with its clock, its postponed work and every engine it ever opened in reach."""

    def __init__(self, spare: bool = True, absent: Exception | None = None, restarts: bool = True) -> None:
        self.now, self.absent, self.postponed, self.proofs, self.wrong = 0.0, absent, [], 0, False
        self.mains: list[Scripted] = []
        self.spares: list[Scripted] = []
        self.spare_error: Exception | None = None
        self.engine = Supervised(self._open, "coral", self._open_spare if spare else None, restarts=restarts,
                                 prove=self._prove, clock=lambda: self.now, aside=self.postponed.append)

    def _prove(self, engine: Any) -> None:
        assert engine is self.mains[-1]
        self.proofs += 1
        if self.wrong:
            raise EngineFault("engine-disagrees")

    def _open(self) -> Scripted:
        if self.absent is not None:
            raise self.absent
        self.mains.append(Scripted())
        return self.mains[-1]

    def _open_spare(self) -> Scripted:
        if self.spare_error is not None:
            raise self.spare_error
        self.spares.append(Scripted("tflite"))
        return self.spares[-1]

    def breaks(self, fault: str = "engine-crashed") -> Output:
        self.mains[-1].fault = fault
        return self.engine.infer(FIELD)

    def finish(self) -> None:
        """What was postponed happens now."""
        work: list[Callable[[], None]] = self.postponed[:]
        self.postponed.clear()
        for do in work:
            do()


def test_a_field_is_answered_by_the_cpu_and_the_next_by_the_restarted_engine() -> None:
    bench = Bench()
    assert (bench.engine.infer(FIELD).faults, bench.engine.faults, bench.engine.name) == ((), (), "coral")
    answer = bench.breaks()
    assert (answer.engine, answer.faults) == ("tflite for coral", ("engine-crashed", "engine-on-cpu"))
    assert answer.detail == "so it says"
    assert (bench.engine.name, bench.engine.faults) == (answer.engine, answer.faults)
    bench.finish()
    assert bench.mains[0].closed
    answer = bench.engine.infer(FIELD)
    assert (answer.engine, answer.faults, bench.engine.faults, bench.engine.name) == ("", (), (), "coral")
    assert (len(bench.mains), len(bench.spares)) == (2, 1)


@pytest.mark.parametrize("fault", [name for name in FAULTS if name.startswith(("engine-", "accelerator-"))])
def test_every_fault_keeps_its_name(fault: str) -> None:
    assert Bench().breaks(fault).faults[0] == fault


def test_an_engine_that_goes_on_failing_is_restarted_at_once_five_times_and_then_probed() -> None:
    bench = Bench()
    for _ in range(RESTARTS):
        bench.breaks()
        assert len(bench.postponed) == 1
        bench.finish()
        bench.now += 1
    answer = bench.breaks()
    assert answer.faults == ("engine-crashed", "engine-unsteady", "engine-on-cpu")
    assert bench.postponed == []
    bench.now += PROBE_S - 0.1
    bench.engine.infer(FIELD)
    assert bench.postponed == []
    bench.now += 0.2
    bench.engine.infer(FIELD)
    bench.finish()
    assert bench.engine.infer(FIELD).faults == ()
    bench.now += WITHIN_S  # a minute without a failure: again at once
    bench.breaks()
    assert len(bench.postponed) == 1


def test_a_missing_accelerator_is_probed_and_taken_back() -> None:
    bench = Bench(absent=EngineFault("accelerator-absent"))
    for _ in range(RESTARTS + 2):
        assert bench.engine.infer(FIELD).faults == ("accelerator-absent", "engine-on-cpu")
        assert bench.postponed == []
        bench.now += PROBE_S
        bench.engine.attend()  # as a device without a field to judge does
        bench.finish()
    bench.absent = None
    bench.now += PROBE_S
    assert bench.engine.infer(FIELD).engine == "tflite for coral"
    bench.finish()
    assert bench.engine.infer(FIELD).faults == ()


def test_without_a_stand_in_the_field_is_lost_by_name_and_the_next_is_not() -> None:
    bench = Bench(spare=False)
    for _ in range(2):
        with pytest.raises(EngineFault) as caught:
            bench.breaks("engine-stuck")
        assert caught.value.fault.name == "engine-stuck"
        assert bench.engine.faults == ("engine-stuck",)
    bench.finish()
    assert bench.engine.infer(FIELD).faults == ()
    with pytest.raises(EngineFault, match="no accelerator"):
        Bench(spare=False, absent=EngineFault("accelerator-absent"))


def test_a_stand_in_that_cannot_be_opened_is_tried_once_and_told() -> None:
    bench = Bench()
    bench.spare_error = BackendMissing("tflite needs a library")
    with pytest.raises(EngineFault, match=r"died.*so it says; and the CPU cannot stand in: tflite needs a library"):
        bench.breaks()
    bench.spare_error = None
    with pytest.raises(EngineFault, match="engine died"):
        bench.engine.infer(FIELD)
    bench.finish()
    assert bench.engine.infer(FIELD).faults == ()


def test_what_has_no_name_still_gets_one() -> None:
    bench = Bench()
    bench.absent = RuntimeError("anything")
    bench.breaks()
    bench.finish()
    assert bench.engine.faults == ("engine-not-started", "engine-on-cpu")


@pytest.mark.parametrize("error", [BackendMissing("no libedgetpu"), EngineError("TensorRT built no engine")])
def test_what_waiting_does_not_mend_is_a_matter_for_who_sets_the_device_up(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        Bench(absent=error)


def test_an_engine_in_this_process_goes_on_with_the_next_field() -> None:
    bench = Bench(spare=False, restarts=False)
    with pytest.raises(EngineFault):
        bench.breaks("engine-not-finite")
    assert bench.engine.faults == ("engine-not-finite",)
    bench.mains[0].fault = ""
    assert bench.engine.infer(FIELD).faults == ()
    assert bench.engine.faults == ()
    assert (len(bench.mains), bench.postponed) == (1, [])


def test_an_accelerator_that_begins_to_compute_wrongly_is_found_out_and_not_asked() -> None:
    bench = Bench()
    bench.now += PROVE_S - 1
    bench.engine.infer(FIELD)
    assert bench.proofs == 0
    bench.now += 2
    for _ in range(2):
        assert bench.engine.infer(FIELD).faults == ()
    assert bench.proofs == 1
    bench.now, bench.wrong = bench.now + PROVE_S, True
    answer = bench.engine.infer(FIELD)
    assert (answer.engine, answer.faults) == ("tflite for coral", ("engine-disagrees", "engine-on-cpu"))
    cpu = Bench(restarts=False)  # a CPU computes today what it computed yesterday
    cpu.now += PROVE_S
    cpu.engine.infer(FIELD)
    assert cpu.proofs == 0


def test_closing_closes_what_is_still_being_opened() -> None:
    bench = Bench()
    bench.breaks()
    bench.engine.close()
    bench.finish()
    assert [engine.closed for engine in (*bench.mains, *bench.spares)] == [True, True, True]


def test_a_cpu_bundle_is_proven_and_runs_as_before(onnx_bundle: Any) -> None:
    engine = supervise(onnx_bundle)
    tensor = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    assert (engine.name, engine.infer(tensor).faults) == ("onnx", ())
    engine.close()
