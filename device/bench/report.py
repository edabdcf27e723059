"""What a benchmark found, as JSON and as a table for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from alledge import __version__
from alledge.config import DeviceConfig
from alledge.manifest import Manifest
from alledge.verdict import Verdict

from .. import machine
from .doubts import doubts
from .plan import Plan
from .starts import Start
from .watch import Conditions

STAGES = ("capture", "segment", "infer", "display", "log", "rest", "total")
PERCENTILES = (50, 90, 95, 99)
DRIFT_LEAST = 20  # fields, for a first and a last fifth that mean anything

Figures = dict[str, float]


@dataclass(frozen=True)
class Steady:
    """Fields one way.

    Attributes:
        at: when each was done, seconds of `perf_counter`; verdicts: the first, those of the warm-up, the steady ones.
        before: how many do not count; cpu_s: processor time of the others together.
    """

    at: Sequence[float]
    verdicts: Sequence[Verdict]
    before: int
    cpu_s: float

    @property
    def counted(self) -> Sequence[Verdict]:
        """The steady ones."""
        return self.verdicts[self.before:]

    @property
    def per_second(self) -> float:
        """Steady fields per second of wall time."""
        return len(self.counted) / (self.at[-1] - self.at[self.before - 1])


@dataclass(frozen=True)
class Report:
    """What `bench --json` prints; docs/bench.md explains each.

    Attributes:
        stages: stage -> p50, p90, p95, p99, max in milliseconds, n; steady fields, one by one. `rest` is what `total`
            has beyond the others: quality, decision, handing over.
        cold: the same stages of the first field, ms; cold_ms: its total; warm_up: figures of the fields after it.
        starts_ms: from the start of a process to its first verdict, each; first_verdict_ms: their median.
        start_ms: bundle, engine and goldens in a process that runs already.
        throughput_fps: steady fields per second of wall time, side by side.
        cpu_ms: processor time per field one by one, and side by side.
        joule: per field side by side, with the board's idle power in it; None where nothing tells the power, or the
            measurement was too short for it.
        rss_mib, peak_rss_mib: resident memory of the process and its children when steady, and at most.
        drift: median total of the last fifth of the steady fields over that of the first; None for few.
        samples: stage -> milliseconds of each field in order, `at_s` when it was done, `warm` whether it is steady.
        warnings: sentences on what makes these figures worth less.
    """

    stages: dict[str, Figures]
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
    date: str
    alledge: str
    camera: str
    display: str
    peak_rss_mib: float
    first_verdict_ms: float
    starts_ms: list[float]
    cold: Mapping[str, float]
    warm_up: dict[str, Figures]
    cpu_ms: dict[str, float]
    joule: float | None
    drift: float | None
    conditions: dict[str, Any]
    samples: dict[str, list[float]]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return {**vars(self), "cold": dict(self.cold), "warnings": list(self.warnings)}


def report(manifest: Manifest, config: DeviceConfig, plan: Plan, started: Sequence[Start], opened_ms: float,
           single: Steady, together: Steady, memory: tuple[float, float], conditions: Conditions, *, began: float,
           root: Path) -> Report:
    """Figures of what was measured. began: zero of `at_s`, seconds of `perf_counter`."""
    taken = [stages_of(verdict.timings_ms) for verdict in single.verdicts]
    counted = taken[single.before:]
    wobble = drift([stages["total"] for stages in counted])
    about = machine.describe(root)
    watts = conditions.watts(together.at[together.before - 1] - began, together.at[-1] - began)
    return Report(
        stages=_all_figures(counted), cold_ms=taken[0]["total"], throughput_fps=together.per_second,
        rss_mib=memory[0], start_ms=opened_ms, engine=single.verdicts[0].engine, bundle_id=manifest.id,
        target=manifest.target, input_px=manifest.preprocessing.size, threads=config.engine.threads, machine=about,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"), alledge=__version__,
        camera=plan.camera or f"drawn PNG, {manifest.preprocessing.size} px",
        display="png" if plan.display is None else str(plan.display.name), peak_rss_mib=memory[1],
        first_verdict_ms=float(np.median([start.ms for start in started])), starts_ms=[start.ms for start in started],
        cold=taken[0], warm_up=_all_figures(taken[1:single.before]) if single.before > 1 else {},
        cpu_ms={"one_by_one": single.cpu_s / len(counted) * 1e3,
                "side_by_side": together.cpu_s / len(together.counted) * 1e3},
        joule=None if watts is None else watts / together.per_second, drift=wobble, conditions=asdict(conditions),
        samples={**{stage: [stages[stage] for stages in taken] for stage in STAGES},
                 "at_s": [round(at - began, 4) for at in single.at],
                 "warm": [float(number >= single.before) for number in range(len(taken))]},
        warnings=tuple(doubts(conditions, len(counted), wobble)))


def stages_of(timings_ms: Mapping[str, float]) -> dict[str, float]:
    """A field's timings in the order of `STAGES`, with what is not in any stage as `rest`."""
    known = {stage: timings_ms[stage] for stage in STAGES if stage not in ("rest", "total")}
    return {**known, "rest": max(0.0, timings_ms["total"] - sum(known.values())), "total": timings_ms["total"]}


def drift(totals: Sequence[float]) -> float | None:
    """Median of the last fifth over that of the first."""
    if len(totals) < DRIFT_LEAST:
        return None
    fifth = len(totals) // 5
    return float(np.median(totals[-fifth:]) / np.median(totals[:fifth]))


def table(found: Report) -> list[str]:
    """The report for a person."""
    heads = [*(f"p{p}" for p in PERCENTILES), "max"]
    rows = [f"{'ms':<10}" + "".join(f"{head:>10}" for head in heads)]
    rows += [f"{stage:<10}" + "".join(f"{figures[head]:>10.3f}" for head in heads)
             for stage, figures in found.stages.items()]
    power = "" if found.joule is None else f" · {found.joule:.3f} J a field"
    warm_up = f" · warm-up {found.warm_up['total']['p50']:.1f} ms (median)" if found.warm_up else ""
    return [*rows,
            f"{found.stages['total']['n']} fields one by one · first {found.cold_ms:.1f} ms{warm_up}",
            f"start of a process to its first verdict {found.first_verdict_ms:.0f} ms · bundle, engine and goldens "
            f"{found.start_ms:.0f} ms",
            f"side by side {found.throughput_fps:.1f} fields/s · processor {found.cpu_ms['one_by_one']:.2f} ms a field "
            f"one by one, {found.cpu_ms['side_by_side']:.2f} side by side{power}",
            f"memory {found.rss_mib:.0f} MiB, {found.peak_rss_mib:.0f} at most · "
            f"{found.machine['board'] or found.machine['cpu']}, {found.machine['cores']} cores",
            f"engine {found.engine}, {found.threads} thread(s) · bundle {found.bundle_id}",
            *(f"warning: {sentence}" for sentence in found.warnings)]


def _all_figures(taken: Sequence[Mapping[str, float]]) -> dict[str, Figures]:
    return {stage: _figures([stages[stage] for stages in taken]) for stage in STAGES}


def _figures(milliseconds: list[float]) -> Figures:
    shares = {f"p{p}": float(np.percentile(milliseconds, p)) for p in PERCENTILES}
    return {**shares, "max": max(milliseconds), "n": len(milliseconds)}
