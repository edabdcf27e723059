"""A benchmark as one row of a table like those in benchmarks/reference."""

import csv
from pathlib import Path
from typing import Any

from alledge.errors import UsageError

from .report import STAGES, Report

_ABOUT = ("board", "cpu", "cores", "arch", "os", "python", "governor")
_ASKED = ("engine", "target", "bundle_id", "input_px", "threads", "camera", "display")
_SINGLE = ("cold_ms", "start_ms", "first_verdict_ms", "throughput_fps", "rss_mib", "peak_rss_mib")
_HELD = ("cpu_ms", "joule", "drift", "mhz_min", "celsius_max", "usb_mbit", "power_mode", "warnings")
_SHARES = ("p50", "p90", "p95", "p99", "max")
COLUMNS = ("date", "alledge", *_ABOUT, *_ASKED, "n", *_SINGLE, *_HELD,
           *(f"{stage}_{share}_ms" for stage in STAGES for share in _SHARES))


def row(found: Report) -> dict[str, Any]:
    """A value for each of `COLUMNS`; empty where this machine does not tell."""
    plain, held = found.to_json(), found.conditions
    seen = {name: [reading[name] for reading in held["readings"] if reading[name] is not None]
            for name in ("mhz", "celsius")}
    values = {
        "date": found.date[:10], "alledge": found.alledge, "n": found.stages["total"]["n"],
        **{name: found.machine[name] for name in _ABOUT}, **{name: plain[name] for name in _ASKED},
        **{name: round(plain[name], 2) for name in _SINGLE},
        "cpu_ms": round(found.cpu_ms["one_by_one"], 3), "joule": _or_empty(found.joule, 4),
        "drift": _or_empty(found.drift, 3), "mhz_min": _or_empty(min(seen["mhz"], default=None), 0),
        "celsius_max": _or_empty(max(seen["celsius"], default=None), 1),
        "usb_mbit": "+".join(map(str, held["usb_mbit"])), "power_mode": held["power_mode"],
        "warnings": len(found.warnings),
        **{f"{stage}_{share}_ms": round(figures[share], 3) for stage, figures in found.stages.items()
           for share in _SHARES},
    }
    return {name: values[name] for name in COLUMNS}


def check_table(path: Path) -> None:
    """See that a row can be appended, before anything is measured.

    Raises:
        UsageError: when the file has another heading or cannot be read.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"{path}: expected a file to append to, found a folder or device")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            heading = next(csv.reader(file), None)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    if heading not in (None, list(COLUMNS)):
        raise UsageError(f"{path}: expected a benchmark table that starts with {','.join(COLUMNS[:4])},... and has "
                         f"{len(COLUMNS)} columns, received {','.join(heading)[:40]}... with {len(heading)}; name "
                         "another file")


def append_row(path: Path, found: Report) -> None:
    """Append the report to a table; a new file is given its heading.

    Raises:
        UsageError: when the file has another heading or cannot be written.
    """
    check_table(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row(found))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def _or_empty(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(value, digits)
