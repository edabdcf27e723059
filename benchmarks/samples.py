"""How many fields of a slide make a verdict on it, and how should they add up? Writes docs/results/samples.md.

    alledge train ... --folds group --out RUNS/group     (likewise family; more seeds in RUNS/seed1 and so on)
    python benchmarks/samples.py RUNS --data DIR --split CSV

Takes the test rows of cross-validated runs, each judged by a network that had not seen its fold, calibration and
abstention included. Groups of similar stain stand in for slides, which the data set does not name. From every group of
one class fields are drawn at random, so many at a time; intervals are bootstrapped over groups.
"""

import argparse
import datetime
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from taleghani import Pooled
from taleghani import pool as test_rows

from alledge.dataset import read_dataset
from alledge.labels import INCONCLUSIVE, LABELS
from alledge.pooling import LEAST_FIELDS, LEAST_MEAN, pool
from alledge.predictions import PREDICTIONS
from alledge.verdict import Verdict

TAKEN = (1, 3, 5, 10, 20)  # fields of a slide
DRAWS = 100  # per group and number of fields
MIXES = ((0.5, "half and half"), (0.8, "four to one"))
MIXED = 20  # fields of a mixed slide
RESAMPLES = 1000
KINDS = {"group": "groups left out", "family": "stain families left out"}
Fields = NDArray[np.int64]
Way = Callable[[NDArray[np.float64]], int]


def slides(judged: Pooled) -> dict[str, Fields]:
    """Group -> its rows; only groups of one class."""
    rows = {name: np.flatnonzero(judged.groups == name) for name in np.unique(judged.groups)}
    return {name: found for name, found in rows.items() if len(set(judged.truth[found])) == 1}


def verdicts(judged: Pooled, rows: Fields) -> list[Verdict]:
    """The fields as a device would have judged them."""
    return [Verdict(LABELS[p.argmax()] if sure else INCONCLUSIVE, float(p.max()),
                    dict(zip(LABELS, map(float, p), strict=True)), bundle_id="out of fold")
            for p, sure in zip(judged.probabilities[rows], judged.sure[rows], strict=True)]


WAYS: dict[str, Way] = {
    "majority": lambda p: int(np.bincount(p.argmax(1), minlength=len(LABELS)).argmax()),
    "mean probability": lambda p: int(p.mean(0).argmax()),
    "product of probabilities": lambda p: int(np.log(np.maximum(p, 1e-7)).sum(0).argmax()),
}


def ways(judged: Pooled, taken: int, random: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Way of adding up -> per slide the share of draws it calls right, of as many answered fields."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for rows in slides(judged).values():
        sure = rows[judged.sure[rows]]
        if len(sure) < taken:
            continue
        draws = [random.choice(sure, taken, replace=False) for _ in range(DRAWS)]
        for name, way in WAYS.items():
            found[name].append(float(np.mean([way(judged.probabilities[d]) == judged.truth[d[0]] for d in draws])))
    return {name: np.array(shares) for name, shares in found.items()}


def pooled(judged: Pooled, taken: int, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `pool` does with as many fields, answered or not: per slide the shares given a verdict, and a right one."""
    given, right = [], []
    for rows in slides(judged).values():
        if len(rows) < taken:
            continue
        drawn = [pool("1", verdicts(judged, random.choice(rows, taken, replace=False))) for _ in range(DRAWS)]
        truth = LABELS[judged.truth[rows[0]]]
        given.append(np.mean([verdict.conclusive for verdict in drawn]))
        right.append(np.mean([verdict.verdict == truth for verdict in drawn]))
    return np.array(given), np.array(right)


def mixed(judged: Pooled, share: float, random: np.random.Generator) -> float:
    """Share of slides made of two groups of different classes that are given a verdict."""
    large = [rows for rows in slides(judged).values() if len(rows) >= MIXED]
    given = []
    for _ in range(20 * DRAWS):
        one, other = (large[i] for i in random.choice(len(large), 2, replace=False))
        if judged.truth[one[0]] == judged.truth[other[0]]:
            continue
        many = round(share * MIXED)
        rows = np.concatenate([random.choice(one, many, replace=False), random.choice(other, MIXED - many, False)])
        given.append(pool("1", verdicts(judged, rows)).conclusive)
    return float(np.mean(given))


def spread(top: NDArray[np.float64], bottom: NDArray[np.float64] | None = None) -> str:
    """A mean over slides, or a ratio of two, with its 95 % interval."""
    below = np.ones_like(top) if bottom is None else bottom
    drawn = np.random.default_rng(0).integers(len(top), size=(RESAMPLES, len(top)))
    low, high = np.percentile(top[drawn].sum(1) / np.maximum(below[drawn].sum(1), 1e-9), (2.5, 97.5))
    return f"{top.sum() / max(below.sum(), 1e-9):.1%} ({low:.1%} to {high:.1%})"


def rows_of(name: str, judged: Pooled) -> Iterator[tuple[str, str]]:
    """Lines of the first and of the second table."""
    random = np.random.default_rng(0)
    for taken in TAKEN:
        shares = ways(judged, taken, random)
        told = " | ".join(spread(found) for found in shares.values())
        given, right = pooled(judged, taken, random)
        correct = spread(right, given) if given.any() else "-"
        yield (f"| {name} | {taken} | {len(shares['majority'])} | {told} |",
               f"| {name} | {taken} | {len(given)} | {spread(given)} | {correct} |")


def page(tables: list[tuple[str, str]], mixes: list[str]) -> str:
    newline = "\n"
    return f"""# Fields of a slide, added up

Command: see the head of `benchmarks/samples.py`. {datetime.date.today()}, {platform.machine()}. Out-of-fold verdicts of
the reference recipe on Taleghani images; groups of similar stain stand in for slides, which the data set does not name.
{DRAWS} draws per group; intervals are 95 %, bootstrapped over groups.

## Which way

Of fields that were all answered, how often is the slide called right? Nothing abstains here.

| judged | fields | slides | {' | '.join(WAYS)} |
|---|---|---|{'---|' * len(WAYS)}
{newline.join(first for first, _ in tables)}

## What a device says

`alledge.pooling.pool` on fields as they come, inconclusive ones among them: at least {LEAST_FIELDS} conclusive ones and
half of all, and a mean of {LEAST_MEAN:.0%} or more for the leading class.

| judged | fields taken | slides | given a verdict | right when given |
|---|---|---|---|---|
{newline.join(second for _, second in tables)}

## Slides of two kinds

{MIXED} fields of two groups of different classes, which no single class describes. A verdict would be wrong, whichever.

| judged | fields of the two | given a verdict |
|---|---|---|
{newline.join(mixes)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/samples.md"))
    given = parser.parse_args()
    dataset = read_dataset(given.data, given.split)
    tables, mixes = [], []
    for kind, told in KINDS.items():
        for seed, root in enumerate([given.runs, *sorted(given.runs.glob("seed*"))]):
            runs = sorted((root / kind).glob(f"{kind}-*"))
            if not runs:
                continue
            judged, name = test_rows(dataset, runs, PREDICTIONS), f"{told}, seed {seed}"
            tables += rows_of(name, judged)
            for share, words in MIXES:
                mixes.append(f"| {name} | {words} | {mixed(judged, share, np.random.default_rng(1)):.1%} |")
            print(name, flush=True)
    given.out.write_text(page(tables, mixes), "utf-8")


if __name__ == "__main__":
    main()
