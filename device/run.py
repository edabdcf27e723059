"""A run: its stages side by side, each at its own pace, and the promise that holds them together.

A field is acknowledged (shown, reported) only after its result is on disk. The camera is read, fields are prepared, the
model is asked, results are decided, put to disk and shown in a thread each, ahead of whoever waits (`ahead`);
this thread waits for the disk, hands on to the display and reports.
"""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from alledge.config import DeviceConfig
from alledge.errors import EngineError, NoVerdict, SinkError, UsageError
from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from .ahead import Ahead, Newest
from .asking import first_after_press, one_a_press
from .events import FaultEvent, FaultsOn
from .faults import FAULTS
from .notice import STOPPED, Notice, of_fault, over, ready
from .showing import notice_scene, sample_scene, verdict_scene
from .stages import Answer, Mark, Pending, Shot, capture, infer, keep, ms, prepare
from .station import Station, open_station
from .status_led import Light
from .supervised import Supervised
from .trigger import Press

BEAT_S = 0.5  # how often the loop looks up when no field comes
PREPARED = 2  # fields ready for the model: with one, it waits each time that another thread had the processor first
AT_ONCE = 16  # results that may wait for the disk together: a slow card takes as long for one as for all of them


@dataclass(frozen=True)
class Result:
    """A field whose result is on disk, and what it was made of."""

    verdict: Verdict
    answer: Answer


Tell = Callable[[Verdict], None]
TellSample = Callable[[SampleVerdict], None]
Note = Callable[[FaultEvent], None]
Into = Callable[[str, Iterable[Any]], Iterable[Any]]


@dataclass
class Summary:
    """What a run came to: fields, conclusive ones, pictures that could not be read or prepared, engine failures."""

    fields: int = 0
    conclusive: int = 0
    unreadable: int = 0
    engine_fault: str = ""
    interrupted: bool = False

    def count(self, result: Result) -> None:
        """Count one field."""
        self.fields += 1
        self.conclusive += result.verdict.conclusive
        self.unreadable += result.answer.sight.look is None
        self.engine_fault = result.answer.failure or self.engine_fault


def run(config: DeviceConfig, frames: int | None = None, tell: Tell = lambda verdict: None,
        note: Note = lambda event: None, tell_sample: TellSample = lambda verdict: None) -> Summary:
    """Run a device until its camera ends, `frames` fields are done, or Ctrl-C: what was captured is finished then.

    Args:
        config: what to open.
        frames: how many fields at most; None for all.
        tell: called with each result once it is kept, in the order of the fields.
        note: called with each beginning and end of a fault.
        tell_sample: called with each sample that was closed, and at the end with the one that was not.

    Raises:
        AlledgeError: whatever keeps it from starting or from going on; results given until then are kept.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"frames={frames} is out of range: expected 1 or more")
    summary = Summary()
    with (open_station(config) as station, stopped_by_signals() as stop,
          side_by_side(station, stop, frames) as pending):
        for item in results(station, pending.or_idle(BEAT_S)):
            if isinstance(item, FaultEvent):
                note(item)
            elif isinstance(item, SampleVerdict):
                tell_sample(item)
            else:
                summary.count(item)
                tell(item.verdict)
        summary.interrupted = stop.is_set()
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
def side_by_side(station: Station, stop: threading.Event, frames: int | None,
                 into: Into = lambda stage, items: items) -> Iterator[Ahead[Pending | Mark]]:
    """The stages, running. `stop` ends capturing; what was captured comes out all the same.

    `into` stands before each stage: it is given the stage's name and the items for it, and hands them on.
    """
    pipeline, storage = station.pipeline, station.storage
    archived = storage is not None and storage.archive is not None
    with ExitStack() as stack:
        model = stack.enter_context(ThreadPoolExecutor(1, "infer"))

        def ahead(items: Iterable[Any], name: str, depth: int = 1) -> Ahead[Any]:
            return stack.enter_context(closing(Ahead(items, name, depth)))

        captured = capture(station.camera, stop, storage, station.patient)
        shots: Iterable[Shot | Mark]
        if station.free_running:
            shots = newest = stack.enter_context(closing(Newest(captured, "capture", _is_mark)))
            if station.trigger is not None:
                shots = ahead(first_after_press(newest, station.trigger, stop), "trigger")
        else:  # captured where it is prepared: handing on costs more than it gains, and the camera has its own thread
            shots = captured if station.trigger is None else one_a_press(captured, station.trigger, stop)
        sights = ahead(prepare(pipeline, into("prepare", shots), model, frames, archived), "prepare", PREPARED)
        answers = infer(pipeline, into("infer", sights))
        try:
            yield ahead(keep(pipeline, into("keep", answers), station.database, storage if archived else None,
                             station.note, station.samples), "keep", AT_ONCE)
        finally:
            stop.set()


Told = Result | FaultEvent | SampleVerdict


def results(station: Station, pending: Iterable[Pending | Mark | None]) -> Iterator[Told]:
    """Each field's result once it is on disk and handed to the display; faults and closed samples come between them.

    A sample's verdict that was told last stays on the display: it is what somebody waits for.
    """
    last: Told | None = None
    for last in _each(station, pending):
        yield last
    if not isinstance(last, SampleVerdict):
        _notify(station, STOPPED)


def _each(station: Station, pending: Iterable[Pending | Mark | None]) -> Iterator[Told]:
    on, unwritten = set[str](), FaultsOn()
    if station.led is not None:
        station.led.show(Light.READY)
    _notify(station, ready(station.trigger_name))
    for item in pending:
        events = [] if station.showing is None else station.showing.events()
        result = None
        if item is None and isinstance(station.pipeline.engine, Supervised):
            station.pipeline.engine.attend()  # an accelerator may be back before there is a field for it
        if isinstance(item, FaultEvent):
            events.append(item)
        elif isinstance(item, Pending):
            try:
                result = _acknowledge(station, item)
                events += unwritten.become({})
            except SinkError as error:
                if not station.patient:
                    raise
                events += unwritten.become({FAULTS["storage-failed"]: str(error)})
        for event in events:
            _signal(station, event, on)
            yield event
        if result is not None:
            if station.samples is not None:
                station.samples.add(result.verdict)
            yield result
        if item is Press.CLOSE_SAMPLE:
            yield from _close_sample(station)
    yield from _close_sample(station)


def _notify(station: Station, notice: Notice) -> None:
    """Say how the machine is, where somebody stands in front of it; a run over files leaves its last verdict there."""
    if station.showing is not None and station.patient:
        station.showing.post(notice_scene(notice))


def _close_sample(station: Station) -> Iterator[SampleVerdict]:
    """What the fields since the last closing came to, when there were any; shown, too."""
    verdict = None if station.samples is None else station.samples.close()
    if verdict is None:
        return
    if station.showing is not None:
        station.showing.post(sample_scene(verdict), whole=True)
    yield verdict


def _acknowledge(station: Station, pending: Pending) -> Result:
    """Wait for the disk, then show.

    The stored row cannot know how long storing and showing it took: its `total` ends where storing begins. What is
    returned (and printed by `run --json`) has all six timings. A display at its own pace holds no field up.
    """
    verdict, answer = pending.stored.result(), pending.answer
    for sink in station.sinks:
        verdict = sink.write(verdict)
    kept = perf_counter()
    if station.showing is not None:
        look = answer.sight.look
        station.showing.post(verdict_scene(verdict, None if look is None else look.tile))
    shown = perf_counter()
    final = {"log": ms(pending.decided, kept), "display": ms(kept, shown),
             "total": ms(answer.sight.shot.started, shown)}
    return Result(replace(verdict, timings_ms={**verdict.timings_ms, **final}), answer)


def _signal(station: Station, event: FaultEvent, on: set[str]) -> None:
    """A fault's beginning or end on display and LED; `on` are the names of those that are on."""
    (on.add if event.began else on.discard)(event.fault.name)
    if station.showing is not None:
        station.showing.post(notice_scene(of_fault(event.fault) if event.began else over(event.fault)))
    if station.led is not None:
        station.led.show(Light.FAULT if on else Light.READY)


def _is_mark(item: Shot | Mark) -> bool:
    return not isinstance(item, Shot)


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
