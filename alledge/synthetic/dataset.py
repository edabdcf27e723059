"""Write a data set of synthetic smears: class folders, nucleus masks and a leak-free split."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.errors import UsageError
from alledge.images import MASKS
from alledge.labels import LABELS

from .field import REFERENCE_PX, draw_field
from .slide import draw_slide
from .stain import STAINS

FIELDS_PER_SLIDE = 4
FOLDS = 5
TEST_SHARE, VAL_SHARE = 0.25, 0.15


@dataclass(frozen=True)
class Row:
    """One line of split.csv."""

    file: str
    label: str
    md5: str
    group: str
    fold: int
    stain: str
    split: str


@dataclass(frozen=True)
class _Planned:
    """A slide before it is drawn."""

    group: str
    label: str
    seed: int
    stain: str
    fold: int
    split: str
    first: int
    count: int


def write_dataset(out: Path, per_class: int, seed: int, size: int = REFERENCE_PX) -> Path:
    """Write `per_class` fields of every class under `out` and return the path of split.csv.

    Leaves OUT/<label>/<label>_<nnnn>.png, OUT/masks/<label>/<same name>.png (255 = nucleus) and
    OUT/split.csv (columns as in `Row`; md5 is of the PNG file). A group is one slide: a few fields that
    share stain, light and crowding. Neither split nor fold ever cuts a group. Same seed, same bytes.
    """
    if per_class < 1:
        raise UsageError(f"per_class must be 1 or more, not {per_class}")
    if seed < 0:
        raise UsageError(f"seed must be a whole number from 0 up, not {seed}")
    out = Path(out)
    rows = [row for plan in _plan(per_class, seed) for row in _write_slide(out, plan, size)]
    table = out / "split.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.name for column in fields(Row)])
        writer.writerows(astuple(row) for row in rows)
    return table


def _plan(per_class: int, seed: int) -> Iterator[_Planned]:
    """Slides of every class with stain, fold and split; each stain as often in one class as in another."""
    per_slide = max(1, min(FIELDS_PER_SLIDE, per_class // FOLDS))
    slides = -(-per_class // per_slide)
    for number, label in enumerate(LABELS):
        rng = np.random.default_rng([seed, 100 + number])
        stains = _stain_order(rng, slides)
        places = _splits(rng, slides)
        for slide in range(slides):
            split, fold = places[slide]
            first = slide * per_slide
            yield _Planned(
                group=f"{label}_s{slide:03d}",
                label=label,
                seed=int(rng.integers(2**32)),
                stain=stains[slide],
                fold=fold,
                split=split,
                first=first,
                count=min(per_slide, per_class - first),
            )


def _stain_order(rng: np.random.Generator, slides: int) -> list[str]:
    """Stains in turn, then shuffled: every class gets the same ones, so chance ties no stain to a class."""
    names = list(STAINS)
    return [names[place % len(names)] for place in rng.permutation(slides)]


def _splits(rng: np.random.Generator, slides: int) -> list[tuple[str, int]]:
    """Split and fold of each slide of one class, in random order."""
    test = max(1, round(TEST_SHARE * slides)) if slides > 1 else 0
    val = max(1, round(VAL_SHARE * slides)) if slides > 2 else 0
    names = ["test"] * test + ["val"] * val + ["train"] * (slides - test - val)
    order = rng.permutation(slides)
    return [(names[place], int(place) % FOLDS) for place in order]


def _write_slide(out: Path, plan: _Planned, size: int) -> Iterator[Row]:
    slide = draw_slide(np.random.default_rng([plan.seed, 0]), plan.stain)
    for number in range(plan.count):
        field = draw_field(plan.label, plan.seed + number, size, slide=slide)
        name = f"{plan.label}/{plan.label}_{plan.first + number:04d}.png"
        md5 = _write_png(out / name, cv2.cvtColor(field.rgb, cv2.COLOR_RGB2BGR))
        _write_png(out / MASKS / name, field.nuclei)
        yield Row(name, plan.label, md5, plan.group, plan.fold, plan.stain, plan.split)


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> str:
    """Write and return the MD5 of the file. Compression 1: noise hardly compresses, speed counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    path.write_bytes(data)
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
