"""What a field costs on this machine, stage by stage.

Measured on the stages that `alledge run` uses: drawn fields of all classes in turn, read from PNG files, judged, put
into a database and onto a display, both in a temporary folder on the disk that results go to. First whole processes, to
their first verdict. Then one field at a time, as with a button: that is what the figures per stage are about. Then as
fast as the stages go side by side: the throughput. Nothing is clipped: the slowest field is in `max`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event
from time import perf_counter

from alledge.config import DeviceConfig, DisplaySettings
from alledge.errors import EngineError, OutputError, UsageError
from alledge.labels import LABELS
from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from ..admission import open_bundle
from ..camera import Camera, Frame, cannot_wait
from ..camera.file import FileCamera
from ..display import open_display
from ..events import FaultEvent
from ..machine import ROOT
from ..pipeline import Pipeline
from ..run import Result, results, side_by_side
from ..showing import Showing
from ..sink.sqlite import SqliteSink
from ..stages import Mark, Pending, capture, infer, keep, prepare
from ..station import PACE_S, Station, bundle_path, open_pipeline
from ..watched import open_watched
from . import processes
from .plan import Plan
from .report import Report, Steady, report
from .sensors import Sensors
from .starts import starts
from .watch import Watch

_DRAWN = 2  # different fields of each class, so that no cache sees the same one twice in a row


@dataclass
class _Fields:
    """Drawn fields, over and over: a `Camera`."""

    paths: list[Path]
    _camera: FileCamera = field(default_factory=lambda: FileCamera([]))

    def read(self) -> Frame | None:
        """The next field."""
        frame = self._camera.read()
        if frame is None:
            self._camera = FileCamera(self.paths)
            frame = self._camera.read()
        return frame

    def close(self) -> None:
        """Nothing is held."""


def bench(config: DeviceConfig, plan: Plan | None = None, sensors: Sensors | None = None,
          root: Path = ROOT) -> Report:
    """Measure starts, a first field, a warm-up and steady fields one by one, and then steady fields side by side.

    Args:
        config: which bundle and engine, and where results go.
        plan: how much, and with what.
        sensors: of this machine; root: where its `sys` and `proc` are.

    Raises:
        AlledgeError: when bundle or engine are refused, or a field fails: a benchmark of failures says nothing.
    """
    plan = plan or Plan()
    bundle = open_bundle(bundle_path(config), config.bundle)
    with tempfile.TemporaryDirectory(prefix=".alledge-bench-", dir=near(config.database)) as name:
        folder = Path(name)
        drawn = _drawn(folder, bundle.manifest.preprocessing.size)
        started = starts(config, folder, drawn[0], plan.starts)
        processes.forget_peak()
        with Watch(sensors or Sensors(root), root) as watch, _opened(config) as (pipeline, begin, opened_ms):
            single = _one_by_one(folder, pipeline, drawn, plan)
            rss = processes.rss_mib()
            together = _side_by_side(folder, pipeline, drawn, plan)
            peak = processes.peak_rss_mib()
            conditions = watch.conditions(folder)
        return report(bundle.manifest, config, plan, started, opened_ms, single, together, (rss, peak), conditions,
                      began=begin, root=root)


@contextmanager
def _opened(config: DeviceConfig) -> Iterator[tuple[Pipeline, float, float]]:
    """A pipeline; when opening it began, seconds of `perf_counter`; and how long it took, ms."""
    began = perf_counter()
    with open_pipeline(config) as pipeline:
        yield pipeline, began, (perf_counter() - began) * 1e3


def near(path: Path) -> Path:
    """The closest folder above a file that is there and may be written to, else the system's for temporary files."""
    above = (folder for folder in path.absolute().parents if folder.is_dir() and os.access(folder, os.W_OK))
    return next(above, Path(tempfile.gettempdir()))


def _drawn(folder: Path, size: int) -> list[Path]:
    """Fields of all classes in turn; drawn by another process, whose memory and warm caches are not measured."""
    smears = folder / "smears"
    done = subprocess.run([sys.executable, "-m", "alledge", "synth", smears, "--per-class", str(_DRAWN), "--size",
                           str(size)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OutputError(f"fields to measure with cannot be drawn: {done.stderr.strip().removeprefix('error: ')}")
    classes = [sorted((smears / label).glob("*.png")) for label in LABELS]
    return list(chain.from_iterable(zip(*classes, strict=True)))


def _one_by_one(folder: Path, pipeline: Pipeline, drawn: list[Path], plan: Plan) -> Steady:
    """Each field from camera to display before the next is captured."""
    with ThreadPoolExecutor(1) as model, _station(folder, pipeline, drawn, plan, one_by_one=True) as station:
        shots = capture(station.camera, Event())
        answers = infer(pipeline, prepare(pipeline, shots, model))
        return _steady(plan, _judged(station, keep(pipeline, answers, station.database)))


def _side_by_side(folder: Path, pipeline: Pipeline, drawn: list[Path], plan: Plan) -> Steady:
    """As `alledge run` does it."""
    with _station(folder, pipeline, drawn, plan, one_by_one=False) as station, \
            side_by_side(station, Event(), None) as pending:
        return _steady(plan, _judged(station, pending))


def _steady(plan: Plan, fields: Iterable[Verdict]) -> Steady:
    """Those of the plan; with the processor time of the steady ones."""
    done, cpu = list[tuple[float, Verdict]](), 0.0
    for at, verdict in plan.steady(fields):
        done.append((at, verdict))
        if len(done) == plan.warm_up + 1:
            cpu = processes.cpu_s()
    cpu = processes.cpu_s() - cpu
    if len(done) < plan.warm_up + 2:
        raise UsageError(f"the camera gave {len(done)} fields: expected more than {plan.warm_up + 1}, the first and "
                         "those of the warm-up; use a camera that goes on, or --warm-up with less")
    return Steady([at for at, _ in done], [verdict for _, verdict in done], plan.warm_up + 1, cpu)


@contextmanager
def _station(folder: Path, pipeline: Pipeline, drawn: list[Path], plan: Plan, one_by_one: bool) -> Iterator[Station]:
    """One field at a time, every screen is waited for, and the database rests no time between two results: nobody
    presses a button so fast.
    """
    shown = plan.display or DisplaySettings(name="png", options={"path": str(folder / "screen.png")})
    with ExitStack() as stack:
        camera: Camera = _Fields(drawn) if plan.camera is None else open_watched(plan.camera)
        stack.enter_context(closing(camera))
        database = stack.enter_context(closing(SqliteSink(folder / "results.db", 0.0 if one_by_one else PACE_S)))
        glass = partial(open_display, shown.name or "png", shown.options)
        showing = stack.enter_context(closing(Showing(glass, 0.0 if one_by_one else DisplaySettings().rate)))
        yield Station(pipeline, camera, database, showing=showing,
                      free_running=plan.camera is not None and cannot_wait(plan.camera))


def _judged(station: Station, pending: Iterable[Pending | Mark]) -> Iterator[Verdict]:
    for item in results(station, pending):
        if isinstance(item, SampleVerdict):
            continue
        if isinstance(item, FaultEvent) or item.answer.output is None:  # what a stand-in takes says nothing either
            raise EngineError(f"the benchmark stopped at a field that failed: {_why(item)}")
        yield item.verdict


def _why(item: FaultEvent | Result) -> str:
    return item.sentence if isinstance(item, FaultEvent) else item.answer.failure or item.answer.sight.shot.lost
