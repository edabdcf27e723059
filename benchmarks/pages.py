"""What the pages of docs/results/ have in common: who measured, tables, and ratios that can be found again.

A ratio is written `3.10x`, with its spread in brackets; `again.py` compares those of two folders of pages.
"""

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import floor, log10
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from alledge.device import machine


def head(title: str, seen: str = "") -> str:
    """Title, the command as it was given, date, machine, load. `seen`: versions of what was compared."""
    about = machine.describe()
    load = f"{os.getloadavg()[0]:.1f} over the last minute, {os.getloadavg()[2]:.1f} over the last fifteen"
    return (f"# {title}\n\n`{command()}`, {datetime.date.today()}, {about['cpu']}, {os.cpu_count()} cores, "
            f"{platform.system()}, Python {about['python']}{seen and f', {seen}'}.\n"
            f"Load average at the end {load}{_busy()}. Not a board.\n")


def command() -> str:
    """As it was given, without `--out` and where somebody's files are."""
    given = [argument for before, argument in pairwise(sys.argv) if "--out" not in (before, argument)]
    told = ["PATH" if os.sep in argument and Path(argument).exists() else argument for argument in given]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *told])


def _busy() -> str:
    """Words for a machine that did other work: the load of fifteen minutes is not only this benchmark's."""
    much = os.getloadavg()[2] > (os.cpu_count() or 1)
    return "; **other work ran beside it**: compare ratios and processor time, not the clock" if much else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (columns, ["---"] * len(columns), *rows))


def times(values: ArrayLike) -> str:
    """A ratio: median and, in brackets, the lowest and the highest tenth."""
    return spread(values, "x")


def spread(values: ArrayLike, unit: str = "") -> str:
    """Median and, in brackets, the lowest and the highest tenth; one value alone. NaN is left out."""
    told = np.asarray(values)[np.isfinite(values)]
    low, middle, high = np.percentile(told, (10, 50, 90))
    around = f" ({significant(low)}-{significant(high)})" if told.size > 1 else ""
    return f"{significant(middle)}{unit}{around}"


def significant(value: float) -> str:
    """Three digits that mean something, without an exponent."""
    digits = 2 - floor(log10(abs(value))) if value else 0
    return f"{value:.{max(digits, 0)}f}"


def target(what: str, asked: str, measured: str, met: bool) -> tuple[str, ...]:
    """A row of the table of targets, see `TARGETS`."""
    return what, asked, measured, "yes" if met else "**no**"


TARGETS = ("target", "asked for", "measured", "met")
