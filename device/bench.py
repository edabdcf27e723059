"""What a field costs on this machine, stage by stage.

Measured on the stages that `alledge run` uses: drawn fields of all classes in turn, read from PNG files, judged, put
into a database and onto a display, both in a temporary folder of this machine. First one field at a time, as with a
button: that is what the figures per stage are about. Then as fast as the stages go side by side: the throughput.
Nothing is clipped: the slowest field is in `max`.
"""

import csv
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np

from alledge import __version__
from alledge.config import DeviceConfig, DisplaySettings
from alledge.errors import EngineError, UsageError
from alledge.images import write_png
from alledge.labels import LABELS
from alledge.manifest import Manifest
from alledge.sample import SampleVerdict
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

from . import machine
from .camera.file import FileCamera
from .display import open_display
from .events import FaultEvent
from .pipeline import Pipeline
from .run import results, side_by_side
from .showing import Showing
from .sink.sqlite import create
from .stages import Mark, Pending, capture, infer, keep, prepare
from .station import Station, open_pipeline

STAGES = ("capture", "segment", "infer", "display", "log", "total")
PERCENTILES = (50, 90, 95, 99)
_DRAWN = 2 * len(LABELS)  # different fields, so that no cache sees the same one twice in a row


@dataclass(frozen=True)
class Report:
    """What `bench --json` prints, and what it was measured on.

    Attributes:
        stages: stage -> p50, p90, p95, p99, max in milliseconds, n; warm fields only.
        cold_ms: the first field, with every cache cold; start_ms: bundle, engine and goldens before it.
        throughput_fps: warm fields per second of wall time, side by side; rss_mib: peak memory of the process.
    """

    stages: dict[str, dict[str, float]]
    cold_ms: float
    throughput_fps: float
    rss_mib: float
    start_ms: float
    engine: str
    bundle_id: str
    target: str
    input_px: int
    threads: int
    machine: dict[str, str | int]

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def bench(config: DeviceConfig, frames: int = 100) -> Report:
    """Measure one cold field, then `frames` warm ones, then as many side by side.

    Raises:
        AlledgeError: when bundle or engine are refused, or a field fails: a benchmark of failures says nothing.
    """
    start = perf_counter()
    with open_pipeline(config) as pipeline, TemporaryDirectory() as folder:
        start_ms = (perf_counter() - start) * 1e3
        paths = _draw(Path(folder), pipeline.bundle.manifest.preprocessing.size)
        images = [paths[i % len(paths)] for i in range(frames + 1)]
        cold, *warm = _one_by_one(Path(folder), pipeline, images)
        seconds = _side_by_side(Path(folder), pipeline, images[1:])
        return _report(pipeline.bundle.manifest, config, cold, warm, seconds, start_ms)


def table(report: Report) -> list[str]:
    """The report for a person."""
    heads = [*(f"p{p}" for p in PERCENTILES), "max"]
    rows = [f"{'ms':<10}" + "".join(f"{head:>10}" for head in heads)]
    rows += [f"{stage:<10}" + "".join(f"{figures[head]:>10.3f}" for head in heads)
             for stage, figures in report.stages.items()]
    where = f"{report.machine['board'] or report.machine['cpu']}, {report.machine['cores']} cores"
    return [*rows,
            f"{report.stages['total']['n']} fields · cold {report.cold_ms:.1f} ms · start {report.start_ms:.0f} ms",
            f"{report.throughput_fps:.1f} fields/s · {report.rss_mib:.0f} MiB · {where}",
            f"engine {report.engine}, {report.threads} thread(s) · bundle {report.bundle_id}"]


def append_row(path: Path, report: Report) -> None:
    """Append the report to a CSV in the shape of benchmarks/reference; a new file is given its heading.

    Raises:
        UsageError: when the file has another heading or cannot be written.
    """
    row = _row(report)
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: expected a file to append to, found a folder or device")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", newline="", encoding="utf-8") as file:
            file.seek(0)
            heading = next(csv.reader(file), None)
            if heading not in (None, list(row)):
                raise UsageError(f"{path}: expected a benchmark table that starts with {','.join(list(row)[:4])},..., "
                                 f"received {','.join((heading or [])[:4])},...")
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if heading is None:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def _draw(folder: Path, size: int) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(_DRAWN)]
    for i, path in enumerate(paths):
        write_png(path, draw_field(LABELS[i % len(LABELS)], i, size).rgb)
    return paths


def _one_by_one(folder: Path, pipeline: Pipeline, images: list[Path]) -> list[Verdict]:
    """Each field from camera to display before the next is captured."""
    with ThreadPoolExecutor(1) as model, _station(folder, pipeline, images, rate=0) as station:
        shots = capture(station.camera, Event())
        answers = infer(pipeline, prepare(pipeline, shots, model))
        return list(_judged(station, keep(pipeline, answers, station.database)))


def _side_by_side(folder: Path, pipeline: Pipeline, images: list[Path]) -> float:
    """Seconds for all of them, as `alledge run` does it."""
    with _station(folder, pipeline, images, rate=DisplaySettings().rate) as station:
        with side_by_side(station, Event(), None) as pending:
            begin = perf_counter()
            for _ in _judged(station, pending):
                pass
        return perf_counter() - begin


@contextmanager
def _station(folder: Path, pipeline: Pipeline, images: list[Path], rate: float) -> Iterator[Station]:
    with ExitStack() as stack:
        camera = stack.enter_context(closing(FileCamera(images)))
        database = stack.enter_context(closing(create(folder / "results.db")))
        glass = partial(open_display, "png", {"path": str(folder / "screen.png")})
        yield Station(pipeline, camera, database, showing=stack.enter_context(closing(Showing(glass, rate))))


def _judged(station: Station, pending: Iterable[Pending | Mark]) -> Iterator[Verdict]:
    for item in results(station, pending):
        if isinstance(item, SampleVerdict):
            continue
        if isinstance(item, FaultEvent) or item.answer.output is None:  # what a stand-in takes says nothing either
            words = item.sentence if isinstance(item, FaultEvent) else item.answer.failure
            raise EngineError(f"the benchmark stopped at a field that failed: {words}")
        yield item.verdict


def _report(manifest: Manifest, config: DeviceConfig, cold: Verdict, warm: list[Verdict], seconds: float,
            start_ms: float) -> Report:
    return Report(
        stages={stage: _figures([v.timings_ms[stage] for v in warm]) for stage in STAGES},
        cold_ms=cold.timings_ms["total"],
        throughput_fps=len(warm) / seconds,
        rss_mib=machine.peak_rss_mib(),
        start_ms=start_ms,
        engine=cold.engine,
        bundle_id=manifest.id,
        target=manifest.target,
        input_px=manifest.preprocessing.size,
        threads=config.engine.threads,
        machine=machine.describe(),
    )


def _figures(milliseconds: list[float]) -> dict[str, float]:
    shares = {f"p{p}": float(np.percentile(milliseconds, p)) for p in PERCENTILES}
    return {**shares, "max": max(milliseconds), "n": len(milliseconds)}


def _row(report: Report) -> dict[str, Any]:
    """One flat CSV row."""
    plain = report.to_json()
    stages = {f"{stage}_{name}_ms": round(figures[name], 3)
              for stage, figures in report.stages.items() for name in ("p50", "p95", "p99", "max")}
    single = {k: plain[k] for k in ("engine", "target", "bundle_id", "input_px", "threads")}
    figures = {k: round(plain[k], 2) for k in ("cold_ms", "start_ms", "throughput_fps", "rss_mib")}
    return {"date": datetime.now(timezone.utc).date().isoformat(), "alledge": __version__, **report.machine, **single,
            "n": report.stages["total"]["n"], **figures, **stages}
