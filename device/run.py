"""A run: its stages side by side, each at its own pace, and the promise that holds them together.

A field is acknowledged (shown, reported) only after its result is on disk. Capturing, preparing and inferring have a
thread each and work one field ahead (`ahead`); this thread keeps results and reports them; the display has its own.
"""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import cv2

from alledge import reference
from alledge.config import DeviceConfig
from alledge.errors import AlledgeError, EngineError, NoVerdict, UsageError
from alledge.verdict import Verdict

from .admission import open_bundle
from .ahead import Ahead, Newest
from .camera import EXAMPLES, Camera, open_camera
from .display import open_display
from .events import FaultEvent
from .pipeline import Pipeline
from .showing import Showing, fault_scene, verdict_scene
from .sink import Sink, open_sink
from .stages import Answer, capture, conclude, infer, prepare
from .supervised import supervise

Tell = Callable[[Verdict], None]
Note = Callable[[FaultEvent], None]
NO_DISPLAY = "none"
BEAT_S = 0.5  # how often the loop looks up when no field comes


@dataclass(frozen=True)
class Station:
    """Everything a run holds open."""

    pipeline: Pipeline
    camera: Camera
    sinks: tuple[Sink, ...]
    showing: Showing | None


@dataclass
class Summary:
    """What a run came to: fields, conclusive ones, pictures that could not be read or prepared, engine failures."""

    fields: int = 0
    conclusive: int = 0
    unreadable: int = 0
    engine_fault: str = ""
    interrupted: bool = False

    def count(self, verdict: Verdict, answer: Answer) -> None:
        """Count one field that is on disk."""
        self.fields += 1
        self.conclusive += verdict.conclusive
        self.unreadable += answer.sight.look is None
        self.engine_fault = answer.failure or self.engine_fault


def run(config: DeviceConfig, frames: int | None = None, tell: Tell = lambda verdict: None,
        note: Note = lambda event: None) -> Summary:
    """Run a device until its camera ends, `frames` fields are done, or Ctrl-C: what was captured is finished then.

    Args:
        config: what to open.
        frames: how many fields at most; None for all.
        tell: called with each result once it is kept, in the order of the fields.
        note: called with each beginning and end of a fault.

    Raises:
        AlledgeError: whatever keeps it from starting or from going on; results given until then are kept.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"frames={frames} is out of range: expected 1 or more")
    summary = Summary()
    with (open_station(config) as station, stopped_by_signals() as stop,
          overlapped(station, stop, frames) as answers):
        for item in results(station, answers.or_idle(BEAT_S)):
            if isinstance(item, FaultEvent):
                note(item)
            else:
                summary.count(*item)
                tell(item[0])
        summary.interrupted = stop.is_set()
    return summary


def results(station: Station,
            answers: Iterable[Answer | FaultEvent | None]) -> Iterator[tuple[Verdict, Answer] | FaultEvent]:
    """Each field's result, kept on disk and then handed to the display; and the faults that came between them."""
    showing = station.showing
    for answer in answers:
        if showing is not None:
            yield from showing.events()
        if isinstance(answer, FaultEvent):
            if showing is not None:
                showing.post(fault_scene(answer.sentence))
            yield answer
        elif answer is not None:
            yield _keep_and_show(station, answer), answer


@contextmanager
def overlapped(station: Station, stop: threading.Event, frames: int | None) -> Iterator[Ahead[Answer | FaultEvent]]:
    """The stages, running. A camera that cannot wait is read all the time, and its newest field is taken."""
    pipeline, camera = station.pipeline, station.camera
    with ExitStack() as stack:
        shots = capture(camera, stop)
        first = Newest(shots, "capture", lambda shot: isinstance(shot, FaultEvent)) if getattr(camera, "live", False) \
            else Ahead(shots, "capture")
        shots_ahead = stack.enter_context(closing(first))
        sights = stack.enter_context(closing(Ahead(prepare(pipeline, shots_ahead, frames), "prepare")))
        answers = stack.enter_context(closing(Ahead(infer(pipeline, sights), "infer")))
        try:
            yield answers
        finally:
            stop.set()


def judge(summary: Summary) -> None:
    """Say by an exception what a finished run must be called.

    Raises:
        EngineError: when the engine failed on any field.
        NoVerdict: when no field at all had a conclusive verdict.
    """
    if summary.engine_fault:
        raise EngineError(summary.engine_fault)
    if summary.conclusive == 0:
        raise NoVerdict(f"no verdict: none of {summary.fields} fields could be given one that is safe to show "
                        f"({summary.unreadable} could not be read); the reasons are in the results")


@contextmanager
def open_station(config: DeviceConfig) -> Iterator[Station]:
    """Open everything, the display first, so that it can show why the rest cannot be opened.

    Raises:
        BundleRefused: when this machine does not reproduce the bundle's goldens.
        AlledgeError: for whatever cannot be opened.
        Exception: whatever else ends the run, once the display has been told: it must not go on showing a verdict.
    """
    with ExitStack() as stack:
        showing = _open_showing(config)
        if showing is not None:
            stack.enter_context(closing(showing))
        try:
            pipeline = stack.enter_context(open_pipeline(config))
            camera = stack.enter_context(closing(open_camera(_camera_uri(config))))
            sinks = tuple(stack.enter_context(closing(s)) for s in _open_sinks(config))
            yield Station(pipeline, camera, sinks, showing)
        except Exception as error:
            if showing is not None:
                showing.post(fault_scene(_sentence(error)))
            raise


@contextmanager
def open_pipeline(config: DeviceConfig) -> Iterator[Pipeline]:
    """Bundle and engine, proven on the bundle's goldens before they are trusted with a field."""
    cv2.setNumThreads(1)  # the stages are the parallelism; OpenCV's own threads would only get in their way
    bundle = open_bundle(bundle_path(config), config.bundle)
    with closing(supervise(bundle, config.engine.name, config.engine.threads)) as engine:
        yield Pipeline(bundle, engine)


def bundle_path(config: DeviceConfig) -> Path:
    """The bundle to run: the configured one, else the reference model's that comes with the package."""
    return config.bundle.path or reference.BUNDLE


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yields what Ctrl-C and SIGTERM set, so that a run ends between two fields; a second one ends it at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_and_show(station: Station, answer: Answer) -> Verdict:
    """To disk first, then to the display.

    The stored row cannot know how long storing and showing it took: its `total` ends where storing begins. What is
    returned (and printed by `run --json`) has all six timings. A display at its own pace holds no field up.
    """
    verdict = conclude(station.pipeline, answer)
    decided = perf_counter()
    for sink in station.sinks:
        verdict = sink.write(verdict)
    kept = perf_counter()
    if station.showing is not None:
        look = answer.sight.look
        station.showing.post(verdict_scene(verdict, None if look is None else look.tile))
    shown = perf_counter()
    final = {"log": _ms(decided, kept), "display": _ms(kept, shown), "total": _ms(answer.sight.shot.started, shown)}
    return replace(verdict, timings_ms={**verdict.timings_ms, **final})


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1e3, 3)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, AlledgeError) else f"{type(error).__name__}: {error}"


def _open_showing(config: DeviceConfig) -> Showing | None:
    name, options = config.display.name, config.display.options
    if name in (None, NO_DISPLAY):
        return None
    return Showing(lambda: open_display(name, options), config.display.rate)


def _open_sinks(config: DeviceConfig) -> Iterator[Sink]:
    yield open_sink("sqlite", config.database)
    if config.results.jsonl is not None:
        yield open_sink("jsonl", config.results.jsonl)


def _camera_uri(config: DeviceConfig) -> str:
    if config.camera.uri is None:
        raise UsageError(f"no camera was given: add --camera with one of {', '.join(EXAMPLES.values())}")
    return config.camera.uri
