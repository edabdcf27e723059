"""Does the quality check refuse fields before verdicts go wrong, and leave clean ones alone?

    python benchmarks/quality.py RUNS --data DIR [--every 9]

RUNS/group as `benchmarks/taleghani.py` leaves it: a split and an int8 `cpu` bundle per fold, which has not seen the
test rows that it is asked about. Disturbances are those of `alledge.perturb`, in more levels, and a dark corner.
Writes docs/results/quality.md.
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.calibration import Calibration
from alledge.dataset import read_dataset
from alledge.device import quality
from alledge.device.decide import decide
from alledge.device.engine import Output, open_engine
from alledge.device.pipeline import Look, Pipeline
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.metrics import wilson
from alledge.perturb import blur, exposure, noise, yellow_cast
from alledge.synthetic import draw_field

Field = NDArray[np.uint8]
DRAWN = 300  # clean fields
_RANDOM = np.random.default_rng(0)


def dark_corner(field: Field, share: float) -> Field:
    """The left part of the picture black, as a condenser out of place leaves it."""
    dark = field.copy()
    dark[:, :round(share * field.shape[1])] = 0
    return dark


def layers(field: Field, more: float) -> Field:
    """So many layers of cells more over the field: itself, turned, its optical density above glass added."""
    density = -np.log((field.astype(np.float32) + 1) / 256)
    cells = np.maximum(density - np.quantile(density.reshape(-1, 3), 0.1, axis=0).astype(np.float32), 0)
    for turn in range(int(np.ceil(more))):
        density += min(1.0, more - turn) * np.rot90(cells, turn + 1)
    return np.clip(256 * np.exp(-density) - 1, 0, 255).round().astype(np.uint8)


def darker_stain(field: Field, times: float) -> Field:
    """All optical density above glass times a factor."""
    density = -np.log((field.astype(np.float32) + 1) / 256)
    glass = np.quantile(density.reshape(-1, 3), 0.1, axis=0).astype(np.float32)
    return np.clip(256 * np.exp(-(glass + times * (density - glass))) - 1, 0, 255).round().astype(np.uint8)


SWEEPS: dict[str, tuple[str, tuple[float, ...], Callable[[Field, float], Field]]] = {
    "blur": ("px sigma", (0.5, 1, 1.5, 2, 2.5, 3), lambda f, x: blur(f, x, f, _RANDOM)),
    "more light": ("stops", (0.25, 0.5, 0.75, 1), lambda f, x: exposure(f, x, f, _RANDOM)),
    "less light": ("stops", (0.5, 1, 1.5, 2, 3), lambda f, x: exposure(f, -x, f, _RANDOM)),
    "yellow cast": ("of the paper's", (1, 1.3, 1.7, 2.2), lambda f, x: yellow_cast(f, x, f, _RANDOM)),
    "dark corner": ("of the width", (0.05, 0.1, 0.2, 0.4), dark_corner),
    "layers of cells": ("more", (0.5, 1, 1.5, 2, 3), layers),
    "darker stain": ("times", (1.5, 2, 3), darker_stain),
    "noise": ("levels sigma", (4, 8, 16), lambda f, x: noise(f, x, f, np.random.default_rng(1))),
}


class Tally:
    """Fields at one level: refused by quality, answered and wrong without it, and with it."""

    def __init__(self) -> None:
        self.n = self.refused = self.answered = self.wrong = self.kept = self.kept_wrong = 0

    def add(self, pipeline: Pipeline, field: Field, truth: str) -> None:
        """Judge a field twice."""
        look = pipeline.prepare(field)
        output, calibration = pipeline.infer(look), pipeline.bundle.manifest.calibration
        doubts = quality.complaints(figures(look, output, calibration))
        verdict = decide(output, calibration, look.prepared.mask.warnings, look.stain)
        self.n += 1
        self.refused += bool(doubts)
        self.answered += verdict.conclusive
        self.wrong += verdict.conclusive and verdict.verdict != truth
        self.kept += verdict.conclusive and not doubts
        self.kept_wrong += verdict.conclusive and not doubts and verdict.verdict != truth

    def row(self, name: str, level: str) -> str:
        """One line of the table."""
        low, high = wilson(self.refused, self.n)
        return (f"| {name} | {level} | {self.refused / self.n:.1%} ({low:.1%} to {high:.1%}) | {self.answered} "
                f"| {self.wrong} | {self.kept} | {self.kept_wrong} |")


def figures(look: Look, output: Output, calibration: Calibration) -> dict[str, float]:
    """All that is measured of a field, as in `Pipeline.decide`."""
    return {**look.quality, **quality.stained(output.probs, look.stain, calibration.gate)}


def measured(pipeline: Pipeline, path: Path) -> dict[str, float]:
    """The same of an image."""
    look = pipeline.prepare(read_image(path))
    return figures(look, pipeline.infer(look), pipeline.bundle.manifest.calibration)


def sweep(pipelines: list[tuple[Pipeline, list[tuple[Field, str]]]]) -> Iterator[str]:
    """Lines of the table, clean fields first."""
    for name, (unit, levels, change) in {"clean": ("", (0.0,), lambda f, x: f), **SWEEPS}.items():
        for level in levels:
            tally = Tally()
            for pipeline, fields in pipelines:
                for field, truth in fields:
                    tally.add(pipeline, change(field, level), truth)
            yield tally.row(name, f"{level:g} {unit}" if unit else "")
            print(name, level, flush=True)


def false_alarms(fields: list[dict[str, float]]) -> tuple[int, int]:
    """Clean fields that the quality check refuses, and all of them."""
    return sum(bool(quality.complaints(found)) for found in fields), len(fields)


def ranges(name: str, fields: list[dict[str, float]], wanted: Iterable[str]) -> str:
    """Each figure of clean fields: the least, 2 and 98 of 100, the largest."""
    cells = [" / ".join(f"{v:.3g}" for v in np.quantile([f[key] for f in fields], (0, 0.02, 0.98, 1)))
             if key in fields[0] else "" for key in wanted]
    return f"| {name} | {' | '.join(cells)} |"


def told(alarms: tuple[int, int]) -> str:
    low, high = wilson(*alarms)
    return f"{alarms[0]} of {alarms[1]} ({low:.1%} to {high:.1%})"


def page(rows: list[str], real: list[dict[str, float]], drawn: list[dict[str, float]], every: int) -> str:
    limits = ", ".join(f"{name} {getattr(quality, name):g}" for name in dir(quality) if name.endswith(("_MIN", "_MAX")))
    newline = "\n"
    return f"""# The quality check

Command: see the head of `benchmarks/quality.py`, every {every}th test image. {datetime.date.today()},
{platform.machine()}, {os.cpu_count()} cores. Limits: {limits}.

Clean fields that it refuses: {told(false_alarms(real))} listed Taleghani images, {told(false_alarms(drawn))} drawn
ones (without `stain`, which needs a model that has learned from such fields). What they measure (the least / 2 of 100
below / 2 of 100 above / the largest):

| clean fields | {' | '.join(real[0])} |
|---|{'---|' * len(real[0])}
{ranges("Taleghani", real, real[0])}
{ranges("drawn", drawn, real[0])}

Every {every}th test image of the five group folds, judged by the int8 bundle that has not seen it. "Answered" and
"wrong" count verdicts: what confidence, domain gate and segmentation let through alone, and together with the quality
check. Intervals: 95 %, Wilson's, fields taken as independent.

| disturbance | level | refused by quality | answered without it | of these wrong | answered with it | of these wrong |
|---|---|---|---|---|---|---|
{newline.join(rows)}

Layers of cells are fields laid over themselves, turned: not measured here are smears that were really too thick,
damaged cells and other laboratories' optics. Limits were set after a first look at the same images.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("docs/results/quality.md"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    folds, real = list[tuple[Pipeline, list[tuple[Field, str]]]](), list[dict[str, float]]()
    for run in sorted((given.runs / "group").glob("group-*")):
        items = read_dataset(given.data, run / "split.csv").subset("test")
        bundle = Bundle.open(run / "cpu.alledge")
        pipeline = Pipeline(bundle, open_engine(bundle))
        real += [measured(pipeline, item.path) for item in items]
        folds.append((pipeline, [(read_image(item.path), item.label) for item in items[::given.every]]))
    rows = list(sweep(folds))
    for pipeline, _ in folds:
        pipeline.engine.close()
    drawn = [quality.measure(draw_field(LABELS[i % len(LABELS)], 5000 + i, 224).rgb) for i in range(DRAWN)]
    given.out.write_text(page(rows, real, drawn, given.every), "utf-8")


if __name__ == "__main__":
    main()
