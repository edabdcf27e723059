"""A benchmark beside an earlier one: ratios, and whether they are within a band."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alledge.errors import GateNotMet, UsageError

from .report import STAGES, Report
from .rows import row

JUDGED = ("total_p50_ms", "total_p95_ms", "throughput_fps", "cpu_ms", "first_verdict_ms", "peak_rss_mib")
SHOWN = (*(f"{stage}_p50_ms" for stage in STAGES), "total_p95_ms", "total_p99_ms", "throughput_fps", "cpu_ms",
         "cold_ms", "start_ms", "first_verdict_ms", "rss_mib", "peak_rss_mib", "joule")
_SAME = ("board", "cpu", "cores", "governor", "power_mode", "engine", "target", "threads", "bundle_id", "input_px",
         "camera", "display", "python", "alledge")
_RATE = "throughput_fps"  # more of it is better


@dataclass(frozen=True)
class Ratio:
    """One figure now and then. ratio: above 1 is slower or more, whatever the figure; outside: of the band."""

    figure: str
    now: float
    then: float
    ratio: float
    outside: bool


@dataclass(frozen=True)
class Comparison:
    """With a file's benchmark.

    Attributes:
        band: ratio that is still alike, e.g. 1.2: from 1/1.2 to 1.2.
        differs: what else is not as it was: name -> then and now.
    """

    file: str
    band: float
    ratios: tuple[Ratio, ...]
    differs: dict[str, tuple[str, str]]

    @property
    def slower(self) -> tuple[Ratio, ...]:
        """The judged figures that are worse than the band allows."""
        return tuple(r for r in self.ratios if r.figure in JUDGED and r.outside and r.ratio > 1)

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return {"file": self.file, "band": self.band, "ratios": [asdict(r) for r in self.ratios],
                "differs": {name: list(pair) for name, pair in self.differs.items()},
                "slower": [r.figure for r in self.slower]}


def earlier(path: Path) -> Sequence[Mapping[str, Any]]:
    """The rows of a bench.json or of a table, before anything is measured.

    Raises:
        UsageError: when the file is neither.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected an earlier bench.json or CSV, cannot read it ({error})") from error
    if text.lstrip().startswith("{"):
        return [_of_json(path, text)]
    rows = list(csv.DictReader(text.splitlines()))
    if not any(_positive(found.get(name)) for found in rows for name in JUDGED):
        raise UsageError(f"{path}: expected a bench.json or a table of `alledge bench --csv`, found none of their "
                         f"figures ({', '.join(JUDGED)})")
    return rows


def compare(found: Report, rows: Sequence[Mapping[str, Any]], file: str, band: float) -> Comparison:
    """Hold a benchmark against the last of the earlier ones with its engine and number of threads.

    Raises:
        UsageError: when there is none.
    """
    alike = [r for r in rows if (r.get("engine"), str(r.get("threads"))) == (found.engine, str(found.threads))]
    if not alike:
        raise UsageError(f"{file}: expected a benchmark of engine {found.engine} with {found.threads} thread(s), found "
                         f"{len(rows)} of others")
    now, then = row(found), alike[-1]
    known = [name for name in SHOWN if _positive(now[name]) and _positive(then.get(name))]
    differs = {name: (str(then[name]), str(now[name])) for name in _SAME
               if name in then and str(then[name]) != str(now[name])}
    return Comparison(file, band, tuple(_held(name, float(now[name]), float(then[name]), band) for name in known),
                      differs)


def lines(with_it: Comparison) -> list[str]:
    """The comparison for a person."""
    said = [f"against {with_it.file}; above 1 is slower or more, and within {1 / with_it.band:.2f} to "
            f"{with_it.band:.2f} alike:"]
    for r in with_it.ratios:
        words = f"{'worse' if r.ratio > 1 else 'better'} than the band" if r.outside else ""
        judged = "*" if r.figure in JUDGED else " "
        said.append(f"{judged} {r.figure:<18}{r.then:>10.3f} ->{r.now:>10.3f}{r.ratio:>8.2f} {words}".rstrip())
    said += [f"differs: {name} was {then or 'unknown'}, is {now or 'unknown'}"
             for name, (then, now) in with_it.differs.items()]
    return said


def judge(with_it: Comparison) -> None:
    """Say by an exception that a judged figure is worse than the band allows; what is better than it is no fault.

    Raises:
        GateNotMet: naming them.
    """
    if with_it.slower:
        words = ", ".join(f"{r.figure} {r.ratio:.2f}" for r in with_it.slower)
        raise GateNotMet(f"outside the band of {with_it.band:.2f} against {with_it.file}: {words}; a quiet machine and "
                         "a second run tell whether it stays so, --band allows more")


def _of_json(path: Path, text: str) -> Mapping[str, Any]:
    try:
        plain = json.loads(text)
        plain.pop("comparison", None)
        return row(Report(**plain))
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: expected a bench.json of this version of alledge, received another document "
                         f"({error}); a CSV of any version can be compared") from error


def _held(name: str, now: float, then: float, band: float) -> Ratio:
    ratio = then / now if name == _RATE else now / then
    return Ratio(name, now, then, ratio, not 1 / band <= ratio <= band)


def _positive(value: Any) -> bool:
    try:
        return float(value) > 0
    except (TypeError, ValueError):
        return False
