"""The stages that a field passes: capture, prepare, infer, conclude. Each is a generator over the one before it.

None has a thread or a queue of its own; `run` puts each into its own (`ahead`). What goes wrong with one field becomes
an inconclusive result with its reason. A fault of the machine travels between the fields, as an event, so that what
came before it is kept and shown before it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Event
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.errors import EngineError, UsageError
from alledge.labels import INCONCLUSIVE
from alledge.verdict import Verdict

from .camera import Camera, FrameError
from .engine import Output
from .events import FaultEvent, FaultsOn
from .faults import FAULTS, CameraFault, EngineFault
from .pipeline import Look, Pipeline

RETRY_S = 0.2  # a camera with a fault is asked again so soon; its own time-outs and back-off come on top


@dataclass(frozen=True)
class Shot:
    """A field as captured.

    Attributes:
        rgb: uint8 [H, W, 3]; None when it could not be read, and then `lost` says why.
        started: when capturing began, seconds of `perf_counter`.
        timings_ms: stage -> milliseconds, as far as it has come.
    """

    rgb: NDArray[np.uint8] | None
    source: str
    taken_at: str
    started: float
    timings_ms: Mapping[str, float]
    lost: str = ""


@dataclass(frozen=True)
class Sight:
    """A field before the model. look: None when the field was lost, and then `shot.lost` says why."""

    shot: Shot
    look: Look | None


@dataclass(frozen=True)
class Answer:
    """A field after the model.

    Attributes:
        output: None when there is none, because the field was lost or the engine failed.
        engine: the one that answered.
        failure: what the engine said when it failed.
        faults: names of the machine's faults that were on.
    """

    sight: Sight
    output: Output | None
    engine: str
    failure: str = ""
    faults: tuple[str, ...] = ()


def capture(camera: Camera, stop: Event) -> Iterator[Shot | FaultEvent]:
    """Fields from a camera until it has no more or `stop` is set; a camera's fault is waited out.

    Raises:
        CameraError: when the camera fails in a way that has no name and so no recovery.
    """
    on = FaultsOn()
    while not stop.is_set():
        started = perf_counter()
        try:
            frame = camera.read()
        except CameraFault as error:
            yield from on.become({error.fault: error.detail})
            stop.wait(RETRY_S)
            continue
        except FrameError as error:
            yield Shot(None, error.source, error.taken_at, started, _took("capture", started), str(error))
            continue
        if frame is None:
            return
        yield from on.become({})
        yield Shot(frame.rgb, frame.metadata.get("source", ""), frame.taken_at, started, _took("capture", started))


def prepare(pipeline: Pipeline, shots: Iterable[Shot | FaultEvent],
            frames: int | None = None) -> Iterator[Sight | FaultEvent]:
    """Crop, measure and segment; ends after `frames` fields."""
    done = 0
    for shot in shots:
        if isinstance(shot, FaultEvent):
            yield shot
            continue
        yield _prepared(pipeline, shot)
        done += 1
        if done == frames:
            return


def infer(pipeline: Pipeline, sights: Iterable[Sight | FaultEvent]) -> Iterator[Answer | FaultEvent]:
    """Ask the model. A field that the engine failed on goes on without an answer."""
    camera, engine = FaultsOn(), FaultsOn()
    for sight in sights:
        if isinstance(sight, FaultEvent):
            list(camera.become({sight.fault: ""} if sight.began else {}))
            yield sight
            continue
        if sight.look is None:
            yield Answer(sight, None, pipeline.engine.name, faults=(*camera.names, *engine.names))
            continue
        started, output, failure = perf_counter(), None, ""
        try:
            output = pipeline.infer(sight.look)
            faults = dict.fromkeys(output.faults, "")
        except EngineError as error:
            failure = str(error)
            faults = {error.fault.name: error.detail} if isinstance(error, EngineFault) else {"engine-failed": failure}
        yield from engine.become({FAULTS[name]: detail for name, detail in faults.items()})
        name = output.engine if output is not None and output.engine else pipeline.engine.name
        shot = replace(sight.shot, timings_ms={**sight.shot.timings_ms, **_took("infer", started)})
        yield Answer(replace(sight, shot=shot), output, name, failure, (*camera.names, *faults))


def conclude(pipeline: Pipeline, answer: Answer) -> Verdict:
    """The verdict on a field; inconclusive, but never missing, when something failed on it."""
    shot, look = answer.sight.shot, answer.sight.look
    if look is not None and answer.output is not None:
        verdict = pipeline.decide(look, answer.output)
    else:
        reason = (shot.lost or answer.failure).removeprefix(f"{shot.source}: ")  # the result names its source anyway
        verdict = Verdict(INCONCLUSIVE, 0.0, {}, (reason,), bundle_id=pipeline.bundle.id, caveat=pipeline.bundle.caveat)
        if look is not None:
            verdict = replace(verdict, quality=look.quality, coverage=look.prepared.mask.coverage)
    return replace(verdict, taken_at=shot.taken_at, source=shot.source, engine=answer.engine, faults=answer.faults,
                   timings_ms={**shot.timings_ms, **_took("total", shot.started)})


def _prepared(pipeline: Pipeline, shot: Shot) -> Sight:
    if shot.rgb is None:
        return Sight(shot, None)
    started, look, lost = perf_counter(), None, ""
    try:
        look = pipeline.prepare(shot.rgb)
    except UsageError as error:
        lost = str(error)
    except cv2.error as error:
        lost = f"OpenCV cannot prepare it ({error.err})"
    took = {} if look is None else _took("segment", started)
    # the pixels end here: a frame of full size must not wait in memory for the model
    return Sight(replace(shot, rgb=None, lost=lost, timings_ms={**shot.timings_ms, **took}), look)


def _took(stage: str, started: float) -> dict[str, float]:
    return {stage: round((perf_counter() - started) * 1e3, 3)}
