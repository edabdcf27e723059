"""The stages that a field passes: capture, prepare, infer, keep. Each is a generator over the one before it.

None has a thread or a queue of its own; a run puts each into its own (`ahead`). What goes wrong with one field becomes
an inconclusive result with its reason. Marks travel between the fields: a fault of the machine that began or ended, a
sample that was closed. So what came before them is kept and shown before them.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from threading import Event
from time import perf_counter

import cv2

from alledge.errors import EngineError, SinkError, UsageError
from alledge.labels import INCONCLUSIVE
from alledge.verdict import Verdict

from .archive import Storage, name_of
from .camera import Camera, Frame, FrameError, FrameFault
from .engine import Output
from .events import FaultEvent, FaultsOn
from .faults import FAULTS, CameraFault, EngineFault
from .pipeline import Look, Pipeline
from .samples import Samples
from .sink.sqlite import SqliteSink
from .trigger import Press

RETRY_S = 0.1  # a camera at fault, or a full disk, is asked again so soon; time-outs and back-off are the watch's
Mark = FaultEvent | Press


@dataclass(frozen=True)
class Shot:
    """A field as captured.

    Attributes:
        frame: None when it could not be read, and then `lost` says why; and once its pixels are no longer needed.
        started: when capturing began, seconds of `perf_counter`.
        timings_ms: stage -> milliseconds, as far as it has come.
        frame_sha256: of the file that the frame came in, where no archive names it.
    """

    frame: Frame | None
    source: str
    taken_at: str
    started: float
    timings_ms: Mapping[str, float]
    lost: str = ""
    camera: Mapping[str, str] = field(default_factory=dict)
    frame_sha256: str = ""


@dataclass(frozen=True)
class Sight:
    """A field that the model has been asked about.

    Attributes:
        look: None when the field was lost, and then `shot.lost` says why.
        asked: ends with the model's answer and the milliseconds it took, or with `EngineError`; None without a look.
    """

    shot: Shot
    look: Look | None
    asked: "Future[tuple[Output, float]] | None" = None


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


@dataclass(frozen=True)
class Pending:
    """A result on its way to the disk. decided: when it was sent there, seconds of `perf_counter`."""

    answer: Answer
    stored: "Future[Verdict]"
    decided: float


def capture(camera: Camera, stop: Event, storage: Storage | None = None,
            patient: bool = False) -> Iterator[Shot | Mark]:
    """Fields from a camera until it has no more or `stop` is set; a camera's fault is waited out.

    Args:
        storage: asked for room before each field.
        patient: wait for room where there is none.

    Raises:
        CameraError: when the camera fails in a way that has no name and so no recovery.
        SinkError: when there is no room and nobody waits for it.
    """
    on = FaultsOn()
    while not stop.is_set():
        full = storage.fault() if storage is not None else None
        if full is not None:
            if not patient:
                raise SinkError(full.sentence)
            yield from on.become({full: ""})
            stop.wait(RETRY_S)
            continue
        started = perf_counter()
        try:
            frame = camera.read()
        except (FrameFault, CameraFault) as error:
            yield from on.become({error.fault: error.detail})
            stop.wait(RETRY_S)
            continue
        except FrameError as error:
            yield Shot(None, error.source, error.taken_at, started, _took("capture", started), str(error))
            continue
        if frame is None:
            return
        yield from on.become({})
        about = {key: value for key, value in frame.metadata.items() if key != "source"}
        yield Shot(frame, frame.metadata.get("source", ""), frame.taken_at, started, _took("capture", started),
                   camera=about)


def prepare(pipeline: Pipeline, shots: Iterable[Shot | Mark], model: Executor, frames: int | None = None,
            archived: bool = False) -> Iterator[Sight | Mark]:
    """Crop and segment, have the model asked by `model`, and meanwhile measure what else the decision needs.

    Ends after `frames` fields. A frame goes no further unless it is to be `archived`.
    """
    done = 0
    for shot in shots:
        if not isinstance(shot, Shot):
            yield shot
            continue
        sight = _prepared(pipeline, shot, model)
        yield sight if archived else replace(sight, shot=_without_pixels(sight.shot))
        done += 1
        if done == frames:
            return


def infer(pipeline: Pipeline, sights: Iterable[Sight | Mark]) -> Iterator[Answer | Mark]:
    """Wait for the model. A field that the engine failed on goes on without an answer."""
    camera, engine = FaultsOn(), FaultsOn()
    for sight in sights:
        if not isinstance(sight, Sight):
            if isinstance(sight, FaultEvent):
                list(camera.become({sight.fault: ""} if sight.began else {}))
            yield sight
            continue
        if sight.asked is None:
            yield Answer(sight, None, pipeline.engine.name, faults=(*camera.names, *engine.names))
            continue
        output, took, failure = None, 0.0, ""
        try:
            output, took = sight.asked.result()
            faults = dict.fromkeys(output.faults, "") | dict.fromkeys(output.faults[:1], output.detail)
        except EngineError as error:
            failure = str(error)
            faults = {error.fault.name: error.detail} if isinstance(error, EngineFault) else {"engine-failed": failure}
        yield from engine.become({FAULTS[name]: detail for name, detail in faults.items()})
        name = output.engine if output is not None and output.engine else pipeline.engine.name
        shot = replace(sight.shot, timings_ms={**sight.shot.timings_ms, "infer": took})
        yield Answer(replace(sight, shot=shot), output, name, failure, (*camera.names, *faults))


def keep(pipeline: Pipeline, answers: Iterable[Answer | Mark], database: SqliteSink,
         storage: Storage | None = None, note: str = "", samples: Samples | None = None) -> Iterator[Pending | Mark]:
    """Decide, archive and send each result to the database's writer, which puts those that wait to disk together.

    A result whose picture cannot be archived is not stored: what its row names must be there.
    """
    for answer in answers:
        if not isinstance(answer, Answer):
            if answer is Press.CLOSE_SAMPLE and samples is not None:
                samples.move_on()
            yield answer
            continue
        verdict, shot, look = conclude(pipeline, answer, note), answer.sight.shot, answer.sight.look
        if samples is not None:
            verdict = samples.mark(verdict)
        if storage is not None and shot.frame is not None:
            try:
                kept = storage.keep(shot.frame, None if look is None else look.prepared.mask.pixels)
            except SinkError as error:  # as when its row cannot be written: whoever waits for it is told
                yield Pending(answer, _failed(error), perf_counter())
                continue
            verdict = replace(verdict, frame_sha256=kept.frame_sha256, mask_sha256=kept.mask_sha256)
            answer = replace(answer, sight=replace(answer.sight, shot=_without_pixels(shot)))
        decided = perf_counter()
        verdict = replace(verdict, timings_ms={**verdict.timings_ms, "total": ms(shot.started, decided)})
        yield Pending(answer, database.submit(verdict), decided)


def conclude(pipeline: Pipeline, answer: Answer, note: str = "") -> Verdict:
    """The verdict on a field; inconclusive, but never missing, when something failed on it."""
    shot, look = answer.sight.shot, answer.sight.look
    if look is not None and answer.output is not None:
        verdict = pipeline.decide(look, answer.output)
    else:
        reason = (shot.lost or answer.failure).removeprefix(f"{shot.source}: ")  # the result names its source anyway
        verdict = Verdict(INCONCLUSIVE, 0.0, {}, (reason,), bundle_id=pipeline.bundle.id, caveat=pipeline.bundle.caveat)
        if look is not None:
            verdict = replace(verdict, quality=look.quality, coverage=look.prepared.mask.coverage)
    return replace(verdict, taken_at=shot.taken_at, source=shot.source, camera=shot.camera, engine=answer.engine,
                   faults=answer.faults, timings_ms=shot.timings_ms, frame_sha256=shot.frame_sha256,
                   note=note)


def ms(start: float, end: float) -> float:
    """Milliseconds between two moments of `perf_counter`."""
    return round((end - start) * 1e3, 3)


def _prepared(pipeline: Pipeline, shot: Shot, model: Executor) -> Sight:
    if shot.frame is None:
        return Sight(shot, None)
    started = perf_counter()
    try:
        look = pipeline.prepare(shot.frame.rgb)
        shot = replace(shot, timings_ms={**shot.timings_ms, **_took("segment", started)})
        asked = model.submit(_infer, pipeline, look)
        _ = look.quality, look.stain
    except UsageError as error:
        return Sight(replace(shot, lost=str(error)), None)
    except cv2.error as error:
        return Sight(replace(shot, lost=f"OpenCV cannot prepare it ({error.err})"), None)
    return Sight(shot, look, asked)


def _infer(pipeline: Pipeline, look: Look) -> tuple[Output, float]:
    started = perf_counter()
    return pipeline.infer(look), ms(started, perf_counter())


def _failed(error: SinkError) -> "Future[Verdict]":
    future: Future[Verdict] = Future()
    future.set_exception(error)
    return future


def _without_pixels(shot: Shot) -> Shot:
    """A frame of full size must not wait in memory for what needs only its tile; the name of its file is enough."""
    return replace(shot, frame=None, frame_sha256="" if shot.frame is None else name_of(shot.frame))


def _took(stage: str, started: float) -> dict[str, float]:
    return {stage: ms(started, perf_counter())}
