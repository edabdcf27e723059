"""Everything a run holds open, opened in the order in which a person can be told what is wrong."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from alledge import backends, reference
from alledge.config import DeviceConfig, DisplaySettings
from alledge.errors import AlledgeError, UsageError
from alledge.output import say

from .admission import open_bundle
from .archive import Storage, open_storage
from .camera import Camera, cannot_wait
from .conflicts import NO_DISPLAY, faults_of
from .display import open_display
from .forwarding import forwarding
from .notice import OPENING, SELF_TEST, broke_off, cannot_start
from .pipeline import Pipeline
from .samples import Samples
from .showing import Showing, notice_scene
from .sink import Sink, open_sink
from .sink.sqlite import SqliteSink
from .status_led import Light, StatusLed
from .supervised import supervise
from .trigger import Trigger, open_trigger
from .watched import open_watched

PACE_S = 0.01  # between two transactions: nobody sees so little, and the results of a fast run share one


@dataclass(frozen=True)
class Station:
    """What a run works with.

    Attributes:
        database: where results go first; sinks: where else.
        showing, trigger, led: None when there is none.
        storage: None for a run that is not to be stopped by a full disk.
        free_running: whether the camera runs on while nobody looks, so that its newest field is taken.
        trigger_name: as configured.
        patient: whether to wait for room on a full disk; else the run ends.
        note: the operator's, kept with every result.
        samples: None when fields stand alone.
    """

    pipeline: Pipeline
    camera: Camera
    database: SqliteSink
    sinks: tuple[Sink, ...] = ()
    showing: Showing | None = None
    trigger: Trigger | None = None
    led: StatusLed | None = None
    storage: Storage | None = None
    free_running: bool = False
    patient: bool = False
    trigger_name: str | None = None
    note: str = ""
    samples: Samples | None = None


@contextmanager
def open_station(config: DeviceConfig, patient: bool = False, tell: Callable[[str], None] = say) -> Iterator[Station]:
    """Open everything, the display first, so that it can show why the rest cannot be opened.

    Args:
        config: what to open.
        patient: wait for room on a full disk even where the camera's pictures would wait, too.
        tell: called, by whichever thread, with what delivery has to say.

    Raises:
        UsageError: with every fault of the configuration in one sentence; then nothing but the display was opened.
        BundleRefused: when this machine does not reproduce the bundle's goldens.
        AlledgeError: for whatever cannot be opened.
        Exception: whatever else ends the run, once the display has been told: it must not go on showing a verdict.
    """
    with ExitStack() as stack:
        faults = faults_of(config)
        try:
            showing = _open_showing(_without_unknown(config.display) if faults else config.display)
        except AlledgeError:
            if not faults:
                raise
            showing = None  # what it would have shown matters more than why it does not
        if showing is not None:
            stack.enter_context(closing(showing))
        station = None
        try:
            if faults:
                raise UsageError("; ".join(faults))
            station = _open_rest(config, stack, showing, patient, tell)
            yield station
        except Exception as error:
            if showing is not None:
                why = _sentence(error)
                showing.post(notice_scene(cannot_start(why) if station is None else broke_off(why)), whole=True)
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


def _open_rest(config: DeviceConfig, stack: ExitStack, showing: Showing | None, patient: bool,
               tell: Callable[[str], None]) -> Station:
    led = None if config.led.pin is None else stack.enter_context(closing(StatusLed(config.led.pin)))
    if led is not None:
        led.show(Light.BUSY)
    uri, asked = config.camera.uri or "", config.trigger
    free_running = cannot_wait(uri)
    patient = patient or free_running or asked.name is not None
    if showing is not None and patient:
        showing.post(notice_scene(SELF_TEST))
    pipeline = stack.enter_context(open_pipeline(config))
    trigger = None
    if asked.name is not None:
        trigger = stack.enter_context(closing(open_trigger(asked.name, asked.options)))
    if showing is not None and patient:
        showing.post(notice_scene(OPENING))
    camera = stack.enter_context(closing(open_watched(uri)))
    database = stack.enter_context(closing(SqliteSink(config.database, PACE_S)))
    sinks = () if config.results.jsonl is None else (
        stack.enter_context(closing(open_sink("jsonl", config.results.jsonl))),)
    if config.results.mqtt is not None:
        stack.enter_context(forwarding(config.database, config.results.mqtt, tell))
    return Station(pipeline, camera, database, sinks, showing, trigger, led, open_storage(config), free_running,
                   patient=patient, trigger_name=asked.name, note=config.results.note,
                   samples=_open_samples(config))


def _open_samples(config: DeviceConfig) -> Samples | None:
    """Fields add up when a sample was named, and wherever somebody asks for them one by one."""
    if not config.sample.id and config.trigger.name is None:
        return None
    return Samples(config.database, config.sample.id, config.sample.least)


def _open_showing(display: DisplaySettings) -> Showing | None:
    name, options = display.name, display.options
    if name in (None, NO_DISPLAY):
        return None
    return Showing(lambda: open_display(name, options), display.rate)


def _without_unknown(display: DisplaySettings) -> DisplaySettings:
    """A misspelt option must not keep a display from saying so; a wrong value does: it may be the number of a pin."""
    if display.name in (None, NO_DISPLAY):
        return display
    known = backends.options_of("display", display.name).model_fields
    return display.model_copy(update={"options": {k: v for k, v in display.options.items() if k in known}})


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, AlledgeError) else f"{type(error).__name__}: {error}".removesuffix(": ")
