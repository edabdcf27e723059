"""The domain gate alone: what it refuses of test fields and of pictures of other kinds, and what other gates would.

    alledge train --data DIR --split CSV --folds group --weights W --out RUNS/group     (likewise family)
    python benchmarks/taleghani.py RUNS --data DIR --split CSV                          (converts every fold)
    python benchmarks/strangers.py DRAWN
    python benchmarks/gates.py RUNS --data DIR --split CSV --foreign FOLDER DRAWN

Every fold's network judges its own test rows and every picture in the folders. Writes docs/results/gates.md.
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from alledge.bundle import Bundle
from alledge.calibration import fit_gate, gate_input
from alledge.dataset import Dataset, hold_out, read_dataset
from alledge.device.engine import open_engine
from alledge.images import read_image
from alledge.metrics import wilson
from alledge.output import Progress
from alledge.palette import FIGURES
from alledge.preprocess import prepare_field, scale
from alledge.quiet import quiet
from alledge.runfolder import Tiles, TrainingRecord, read_record
from alledge.train import frozen
from alledge.train.batches import read_tiles
from alledge.train.predict import load_model
from alledge.train.recipe import Recipe

KINDS = {"group": "group folds", "family": "stain families left out"}
NEIGHBOUR = 5
REFUSED = 0.02  # of test rows, for every gate alike: where gates are compared

Array = NDArray[np.float64]
Distance = Callable[[Array], Array]


@dataclass(frozen=True)
class Fold:
    """`gate_input` of rows [n, d + 6]: learned from, with their classes; test rows; pictures of each folder."""

    name: str
    record: TrainingRecord
    learned: Array
    truth: NDArray[np.int64]
    test: Array
    foreign: dict[str, Array]


def float_fold(run: Path, kind: str, dataset: Dataset, tiles: Tiles, foreign: dict[str, NDArray[np.uint8]],
               progress: Progress) -> Fold:
    """A fold's run. The trunk's looks at listed rows come from the cache, where training left them."""
    record, model = read_record(run), load_model(run)
    trunk, head = frozen.cut(model)
    looks = frozen.look(trunk, tiles, record.preprocessing, Recipe(0.0), progress)
    subsets = np.array([item.subset for item in hold_out(dataset, kind, run.name.removeprefix(f"{kind}-")).items])
    rows = np.arange(len(subsets))
    everything = gate_input(head.predict(looks(rows), verbose=0)["embedding"], tiles.pixels)
    strange = {name: gate_input(model.predict(scale(pixels, record.preprocessing), verbose=0)["embedding"], pixels)
               for name, pixels in foreign.items()}
    test = subsets == "test"
    return Fold(run.name, record, everything[~test], tiles.truth[~test], everything[test], strange)


def int8_inputs(bundle: Bundle, pixels: NDArray[np.uint8]) -> Array:
    """`gate_input` of tiles as a device's engine gives it."""
    with closing(open_engine(bundle, "tflite")) as engine:
        embeddings = [engine.infer(scale(tile, bundle.manifest.preprocessing)).embedding for tile in pixels]
    return gate_input(np.stack(embeddings), pixels)


def class_conditional(rows: Array, truth: NDArray[np.int64]) -> Distance:
    return fit_gate(rows, truth).distance


def cosine(rows: Array, truth: NDArray[np.int64]) -> Distance:
    return _neighbour(rows, "cosine")


def standardised(rows: Array, truth: NDArray[np.int64]) -> Distance:
    mean, deviation = rows.mean(0), np.maximum(rows.std(0), 1e-9)
    near = _neighbour((rows - mean) / deviation, "euclidean")
    return lambda asked: near((asked - mean) / deviation)


def _neighbour(rows: Array, metric: str) -> Distance:
    tree = NearestNeighbors(n_neighbors=NEIGHBOUR, metric=metric).fit(rows)
    return lambda asked: np.asarray(tree.kneighbors(asked)[0][:, -1], np.float64)


EVERYTHING, EMBEDDING, STAIN = slice(None), slice(None, -FIGURES), slice(-FIGURES, None)
GATES: dict[str, tuple[slice, Callable[[Array, NDArray[np.int64]], Distance]]] = {
    "class-conditional, embedding and stain (ships)": (EVERYTHING, class_conditional),
    "class-conditional, embedding": (EMBEDDING, class_conditional),
    "class-conditional, stain": (STAIN, class_conditional),
    f"{NEIGHBOUR}th neighbour by cosine, embedding": (EMBEDDING, cosine),
    f"{NEIGHBOUR}th neighbour, all standardised": (EVERYTHING, standardised),
}


def compared(folds: list[Fold]) -> list[str]:
    """A row per gate: share of each folder refused where it refuses `REFUSED` of the pooled test rows."""
    rows = []
    for name, (part, fit) in GATES.items():
        distances = [fit(fold.learned[:, part], fold.truth) for fold in folds]
        limit = np.quantile(np.concatenate([d(f.test[:, part]) for d, f in zip(distances, folds, strict=True)]),
                            1 - REFUSED)
        told = [" to ".join(sorted({f"{share:.1%}" for share in (min(found), max(found))}, key=lambda s: float(s[:-1])))
                for found in ([float((d(f.foreign[folder][:, part]) > limit).mean())
                               for d, f in zip(distances, folds, strict=True)] for folder in folds[0].foreign)]
        rows.append(f"| {name} | {' | '.join(told)} |")
    return rows


def shipped(told: str, tests: Sequence[NDArray[np.bool_]], foreign: dict[str, list[float]]) -> str:
    """A row: what the gate that ships refuses, pooled over the folds' test rows, and the least of each folder."""
    refused = np.concatenate(tests)
    low, high = wilson(int(refused.sum()), len(refused))
    least = " | ".join(f"{min(shares):.1%}" for shares in foreign.values())
    return (f"| {told} | {len(refused)} | {refused.mean():.1%} ({low:.1%} to {high:.1%}) | "
            f"{', '.join(f'{part.mean():.1%}' for part in tests)} | {least} |")


def beyond(record: Any, inputs: Array) -> NDArray[np.bool_]:
    """[n] whether the gate in `calibration` of a run's record or a bundle's manifest refuses `gate_input` rows."""
    gate = record.calibration.gate
    return np.asarray(gate.distance(inputs) > gate.threshold)


def page(root: Path, dataset: Dataset, foreign: dict[str, NDArray[np.uint8]]) -> str:
    progress, ships, tables = Progress(sys.stderr), [], []
    tiles: Tiles | None = None
    for kind, told in KINDS.items():
        runs = sorted((root / kind).glob(f"{kind}-*"))
        tiles = tiles or read_tiles(dataset.items, read_record(runs[0]).preprocessing)
        with quiet():
            folds = [float_fold(run, kind, dataset, tiles, foreign, progress) for run in runs]
        ships.append(shipped(f"float, {told}", [beyond(f.record, f.test) for f in folds],
                             {n: [float(beyond(f.record, f.foreign[n]).mean()) for f in folds] for n in foreign}))
        print(ships[-1], flush=True)
        tables += ["", f"### {told.capitalize()}", "", f"| gate | {' | '.join(foreign)} |",
                   f"|{'---|' * (len(foreign) + 1)}", *compared(folds)]
        tests, strange = [], {name: [] for name in foreign}
        for run in runs:
            bundle = Bundle.open(run / "cpu.alledge")
            rows = [i.subset == "test" for i in hold_out(dataset, kind, run.name.removeprefix(f"{kind}-")).items]
            tests.append(beyond(bundle.manifest, int8_inputs(bundle, tiles.pixels[rows])))
            for name, pixels in foreign.items():
                strange[name].append(float(beyond(bundle.manifest, int8_inputs(bundle, pixels)).mean()))
        ships.append(shipped(f"int8 cpu, {told}", tests, strange))
        print(ships[-1], flush=True)
    return PAGE.format(date=datetime.date.today(), machine=platform.machine(), cores=os.cpu_count(),
                       folders=", ".join(f"{name} {len(pixels)}" for name, pixels in foreign.items()),
                       head=" | ".join(foreign), rule="---|" * (len(foreign) + 4), ships="\n".join(ships),
                       refused=REFUSED, tables="\n".join(tables))


PAGE = """# The domain gate alone

Command: see the head of `benchmarks/gates.py`. {date}, {machine}, {cores} cores, no GPU. Confidence and quality are not
asked here: a picture counts as refused only when the gate refuses it. Pictures of other kinds: {folders}.

## As it ships

The threshold is the run's own, from rows that heads had not seen. Test rows pooled over the folds, with Wilson's 95 %
interval (fields of one slide resemble each other, so it is too narrow), and per fold; of each folder the share that the
fold refuses which refuses least.

| | test rows | refused | per fold | {head} |
|{rule}
{ships}

## Other gates

Every gate is fitted on the rows that a fold learned from, and gets the threshold at which it refuses {refused:.0%} of
the pooled test rows; told is the share refused of each folder, least to most over the folds. The looser the gate has to
be for fields of its own kind, the fewer strange ones it stops, which is what the stain families show.
{tables}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--foreign", type=Path, nargs="+", required=True, help="folders of pictures to be refused")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gates.md"))
    given = parser.parse_args()
    dataset = read_dataset(given.data, given.split)
    settings = read_record(next((given.runs / "group").glob("group-*"))).preprocessing
    foreign = {folder.name: np.stack([prepare_field(read_image(path), settings).tile
                                      for path in sorted(folder.iterdir())]) for folder in given.foreign}
    given.out.write_text(page(given.runs, dataset, foreign), "utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
