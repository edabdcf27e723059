"""The loop of a device: capture, judge, keep, show. It owns time; the pipeline it drives has no clock.

A field is acknowledged (shown, reported) only after its result is on disk. What goes wrong with one field becomes an
inconclusive result with its reason; what goes wrong with the machine stops the run, and the display says so.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge import reference
from alledge.config import DeviceConfig
from alledge.errors import AlledgeError, EngineError, NoVerdict, UsageError
from alledge.labels import INCONCLUSIVE
from alledge.verdict import Verdict

from .admission import open_bundle
from .camera import EXAMPLES, Camera, Frame, FrameError, open_camera
from .display import Display, open_display
from .pipeline import Look, Pipeline
from .screen import fault_screen, screen
from .sink import Sink, open_sink
from .supervised import supervise
from .words import words

Tell = Callable[[Verdict], None]
NO_DISPLAY = "none"


@dataclass(frozen=True)
class Station:
    """Everything a run holds open."""

    pipeline: Pipeline
    camera: Camera
    sinks: tuple[Sink, ...]
    display: Display | None


@dataclass
class Summary:
    """What a run came to: fields, conclusive ones, pictures that could not be read or prepared, engine failures."""

    fields: int = 0
    conclusive: int = 0
    unreadable: int = 0
    engine_fault: str = ""
    interrupted: bool = False


def run(config: DeviceConfig, frames: int | None = None, tell: Tell = lambda verdict: None) -> Summary:
    """Run a device until its camera ends, `frames` fields are done, or Ctrl-C.

    Args:
        config: what to open.
        frames: how many fields at most; None for all.
        tell: called with each result once it is kept and shown, all its timings known.

    Raises:
        AlledgeError: whatever keeps it from starting or from going on; results given until then are kept.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"frames={frames} is out of range: expected 1 or more")
    summary = Summary()
    with open_station(config) as station:
        try:
            while frames is None or summary.fields < frames:
                verdict = one_field(station, summary)
                if verdict is None:
                    break
                tell(verdict)
        except KeyboardInterrupt:
            summary.interrupted = True
    return summary


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
        Exception: whatever else ends the run, once the display has shown it: it must not go on showing a verdict.
    """
    with ExitStack() as stack:
        display = _open_display(config)
        if display is not None:
            stack.enter_context(closing(display))
        try:
            pipeline = stack.enter_context(open_pipeline(config))
            camera = stack.enter_context(closing(open_camera(_camera_uri(config))))
            sinks = tuple(stack.enter_context(closing(s)) for s in _open_sinks(config))
            yield Station(pipeline, camera, sinks, display)
        except Exception as error:
            with suppress(Exception):  # a display that fails as well must not hide the cause
                _show_fault(display, _sentence(error))
            raise


@contextmanager
def open_pipeline(config: DeviceConfig) -> Iterator[Pipeline]:
    """Bundle and engine, proven on the bundle's goldens before they are trusted with a field."""
    bundle = open_bundle(bundle_path(config), config.bundle)
    with closing(supervise(bundle, config.engine.name, config.engine.threads)) as engine:
        yield Pipeline(bundle, engine)


def bundle_path(config: DeviceConfig) -> Path:
    """The bundle to run: the configured one, else the reference model's that comes with the package."""
    return config.bundle.path or reference.BUNDLE


def one_field(station: Station, summary: Summary) -> Verdict | None:
    """One field from camera to display; None when the camera has no more."""
    start = perf_counter()
    tile = None
    try:
        frame = station.camera.read()
        if frame is None:
            return None
        verdict, tile = _judge_frame(station.pipeline, frame, start, summary)
    except FrameError as error:
        summary.unreadable += 1
        verdict = _lost(station.pipeline, str(error), error.source, error.taken_at,
                        {"capture": _ms(start, perf_counter())})
    return _keep_and_show(station, verdict, tile, start, summary)


def _judge_frame(pipeline: Pipeline, frame: Frame, start: float,
                 summary: Summary) -> tuple[Verdict, NDArray[np.uint8]]:
    captured = perf_counter()
    look = _prepare(pipeline, frame)
    prepared = perf_counter()
    timings = {"capture": _ms(start, captured), "segment": _ms(captured, prepared)}
    source = frame.metadata.get("source", "")
    try:
        verdict = pipeline.decide(look, pipeline.infer(look))
    except EngineError as error:
        summary.engine_fault = str(error)
        lost = _lost(pipeline, str(error), source, frame.taken_at, timings)
        return replace(lost, quality=look.quality, coverage=look.prepared.mask.coverage), look.tile
    timings["infer"] = _ms(prepared, perf_counter())
    return replace(verdict, taken_at=frame.taken_at, source=source, timings_ms=timings), look.tile


def _prepare(pipeline: Pipeline, frame: Frame) -> Look:
    try:
        return pipeline.prepare(frame.rgb)
    except (UsageError, cv2.error) as error:
        reason = f"OpenCV cannot prepare it ({error.err})" if isinstance(error, cv2.error) else str(error)
        raise FrameError(reason, frame.metadata.get("source", ""), frame.taken_at) from error


def _lost(pipeline: Pipeline, reason: str, source: str, taken_at: str, timings: Mapping[str, float]) -> Verdict:
    """The result of a field on which something failed: inconclusive, but never missing."""
    reason = reason.removeprefix(f"{source}: ")  # the result names its source anyway
    return Verdict(INCONCLUSIVE, 0.0, {}, (reason,), timings_ms=timings, taken_at=taken_at, source=source,
                   engine=pipeline.engine.name, bundle_id=pipeline.bundle.id, caveat=pipeline.bundle.caveat)


def _keep_and_show(station: Station, verdict: Verdict, tile: NDArray[np.uint8] | None, start: float,
                   summary: Summary) -> Verdict:
    """To disk first, then to the display.

    The stored row cannot know how long storing and showing it took: its `total` ends where storing begins. What is
    returned (and printed by `run --json`) has all six timings.
    """
    decided = perf_counter()
    verdict = replace(verdict, timings_ms={**verdict.timings_ms, "total": _ms(start, decided)})
    for sink in station.sinks:
        verdict = sink.write(verdict)
    logged = perf_counter()
    summary.fields += 1
    summary.conclusive += verdict.conclusive
    if station.display is not None:
        _show(station.display, verdict, tile)
    shown = perf_counter()
    final = {"log": _ms(decided, logged), "display": _ms(logged, shown), "total": _ms(start, shown)}
    return replace(verdict, timings_ms={**verdict.timings_ms, **final})


def _show(display: Display, verdict: Verdict, tile: NDArray[np.uint8] | None) -> None:
    picture = None if display.mode == "text" else screen(verdict, display.size, tile)
    display.show(picture, words(verdict))


def _show_fault(display: Display | None, sentence: str) -> None:
    """On a picture display only: on a terminal the same sentence follows on stderr."""
    if display is not None and display.mode != "text":
        display.show(fault_screen(sentence, display.size), [f"Fault: {sentence}"])


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, AlledgeError) else f"{type(error).__name__}: {error}"


def _open_display(config: DeviceConfig) -> Display | None:
    name = config.display.name
    return None if name in (None, NO_DISPLAY) else open_display(name, config.display.options)


def _open_sinks(config: DeviceConfig) -> Iterator[Sink]:
    yield open_sink("sqlite", config.database)
    if config.results.jsonl is not None:
        yield open_sink("jsonl", config.results.jsonl)


def _camera_uri(config: DeviceConfig) -> str:
    if config.camera.uri is None:
        raise UsageError(f"no camera was given: add --camera with one of {', '.join(EXAMPLES.values())}")
    return config.camera.uri


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1e3, 3)
