"""What the command line asks of a conversion."""

from dataclasses import dataclass
from pathlib import Path

from .issue import UNISSUED, Issue


@dataclass(frozen=True)
class Options:
    """Wishes beyond run and target; each target reads those that concern it.

    Attributes:
        allow_drop: write a bundle that did not meet its gates, which says so from then on.
        precision: arithmetic on the device; None for the target's own.
        board_memory: Jetson only: GiB that building the engine may use, swap included; None for the board's own.
        compiler: Edge TPU only: the `edgetpu_compiler` to use instead of the one on PATH.
        allow_cpu_fallback: Edge TPU only: accept operations that stay on the CPU.
        keep_float: Jetson Orin in 8 bits only: names of layers that stay in float, as the report's table has them.
        data, split: the images the run was trained with, to range and judge with instead of its tiles.
        issue: number, last day and signature of the bundle.
    """

    allow_drop: bool = False
    precision: str | None = None
    board_memory: float | None = None
    compiler: Path | None = None
    allow_cpu_fallback: bool = False
    data: Path | None = None
    split: Path | None = None
    issue: Issue = UNISSUED
    keep_float: tuple[str, ...] = ()
