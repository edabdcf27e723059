"""Whole fields, nuclei or single cells: what should a frozen network look at to hold on stains it never saw?

    python benchmarks/inputs.py --data DIR --split CSV --weights W

The same maps of the same ImageNet MobileNetV2, mean and spread of each channel, and the same class-balanced logistic
regression, for four ways to look: over the whole field; over the nuclei that `alledge.segment` finds; both side by
side; and over the nucleus in a crop of every single cell at a common scale, the field's verdict being the mean
log-probability of its cells. No augmentation, no seed: the ways differ in nothing else. Writes docs/results/inputs.md.
"""

import argparse
import datetime
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alledge.dataset import Item, read_dataset
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.metrics import Scores, score
from alledge.preprocess import Preprocessing, nucleus_weight, scale
from alledge.segmentation import segment
from alledge.train.model import build_model

NUCLEI = Preprocessing(nuclei=True)
CROP, CELL_SIZE = 64, 112  # px of the field around a cell, and what the network gets
MIN_AREA, MOST_CELLS = 60, 16  # px; the largest ones of a field
STRENGTH = 0.1  # inverse regularisation of the regression
BATCH = 64

Array = NDArray[np.float64]
Tiles = NDArray[np.uint8]


def figures(trunk: keras.Model, tiles: Sequence[Tiles]) -> Array:
    """[n, 192] mean and spread per channel over what the fourth channel of uint8 [S, S, 4] marks."""
    parts = [trunk.predict_on_batch(scale(np.stack(tiles[i:i + BATCH]), NUCLEI)) for i in range(0, len(tiles), BATCH)]
    return np.concatenate(parts).astype(np.float64)


def marked(rgb: Tiles, mask: Tiles) -> Tiles:
    """uint8 [S, S, 4] of RGB and the mask's weight."""
    return np.dstack([rgb, nucleus_weight(mask)])


def cells(rgb: Tiles, mask: Tiles) -> list[Tiles]:
    """A tile of CELL_SIZE px around each of the largest nuclei; the whole field when there is none."""
    count, names, stats, centres = cv2.connectedComponentsWithStats(mask)
    largest = sorted(range(1, count), key=lambda i: -stats[i, cv2.CC_STAT_AREA])[:MOST_CELLS]
    found = [i for i in largest if stats[i, cv2.CC_STAT_AREA] >= MIN_AREA]
    if not found:
        return [marked(cv2.resize(rgb, (CELL_SIZE, CELL_SIZE)), cv2.resize(mask, (CELL_SIZE, CELL_SIZE)))]
    margin = CROP // 2
    wide = cv2.copyMakeBorder(rgb, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
    crops = []
    for i in found:
        column, row = (int(v) for v in centres[i])
        own = cv2.copyMakeBorder((names == i).astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        window = (slice(row, row + CROP), slice(column, column + CROP))
        crops.append(marked(cv2.resize(wide[window], (CELL_SIZE, CELL_SIZE), interpolation=cv2.INTER_CUBIC),
                            cv2.resize(own[window], (CELL_SIZE, CELL_SIZE), interpolation=cv2.INTER_NEAREST)))
    return crops


def cross_validated(features: Array, field: NDArray[np.int64], truth: NDArray[np.int64],
                    fold: NDArray[np.str_]) -> Array:
    """[n, 4] probabilities of each field by a model that has not seen its fold; `features` are of `field`."""
    logs = np.zeros((len(truth), len(LABELS)))
    for name in np.unique(fold):
        train, test = (np.flatnonzero(which[field]) for which in (fold != name, fold == name))
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", C=STRENGTH, max_iter=500))
        model.fit(features[train], truth[field[train]])
        np.add.at(logs, field[test], model.predict_log_proba(features[test]))
    logs /= np.bincount(field, minlength=len(truth))[:, None]
    power = np.exp(logs - logs.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


def look(items: Sequence[Item], weights: Path) -> dict[str, tuple[Array, NDArray[np.int64], float]]:
    """way -> (features, the field each row belongs to, CPU milliseconds per field)."""
    size = NUCLEI.size
    trunk, close = (_trunk(weights, side) for side in (size, CELL_SIZE))
    fields = [read_image(item.path) for item in items]
    masks = [segment(rgb).pixels for rgb in fields]
    own = np.arange(len(items))
    found = {}
    started = time.process_time()
    whole = figures(trunk, [marked(rgb, np.full_like(m, 255)) for rgb, m in zip(fields, masks, strict=True)])
    found["field"] = (whole, own, _per_field(started, items))
    started = time.process_time()
    nuclei = figures(trunk, [marked(rgb, m) for rgb, m in zip(fields, masks, strict=True)])
    found["nuclei"] = (nuclei, own, _per_field(started, items))
    found["field and nuclei"] = (np.hstack([whole, nuclei]), own, found["field"][2] + found["nuclei"][2])
    started = time.process_time()
    crops = [cells(rgb, m) for rgb, m in zip(fields, masks, strict=True)]
    single = figures(close, [crop for part in crops for crop in part])
    found["cells"] = (single, np.repeat(own, [len(part) for part in crops]), _per_field(started, items))
    return found


def _per_field(started: float, items: Sequence[Item]) -> float:
    return (time.process_time() - started) * 1e3 / len(items)


def _trunk(weights: Path, size: int) -> keras.Model:
    model = build_model("mobilenetv2", str(weights), "nuclei", size)
    return keras.Model(model.inputs, model.get_layer("figures_flat").output)


def page(rows: list[str], fields: int, crops: int) -> str:
    return f"""# Fields, nuclei or cells

Command: see the head of `benchmarks/inputs.py`. {datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores,
no GPU. {fields} listed Taleghani fields, {crops} cells. Intervals: 95 %, bootstrapped over groups. CPU time is the
desktop's and counts the network, not the segmentation; ratios are what to read.

| the network looks at | folds | accuracy | benign recall | early pre-B | pre-B | pro-B | CPU ms per field |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def row(way: str, folds: str, scores: Scores, milliseconds: float) -> str:
    low, high = scores.accuracy_group_ci95 or (0.0, 1.0)
    recalls = " | ".join(f"{scores.per_class[label].recall or 0:.1%}" for label in LABELS)
    return f"| {way} | {folds} | **{scores.accuracy:.2%}** ({low:.1%}-{high:.1%}) | {recalls} | {milliseconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--split", "--weights"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/inputs.md"))
    given = parser.parse_args()
    items = read_dataset(given.data, given.split).items
    truth, groups = np.array([i.index for i in items]), [i.group for i in items]
    looks = look(items, given.weights)
    rows = []
    for told, column in (("stain families left out", "family"), ("group folds", "fold")):
        fold = np.array([i.columns[column] for i in items])
        for way, (features, field, milliseconds) in looks.items():
            rows.append(row(way, told, score(cross_validated(features, field, truth, fold), truth, groups=groups),
                            milliseconds))
            print(rows[-1], flush=True)
    given.out.write_text(page(rows, len(items), len(looks["cells"][0])), "utf-8")


if __name__ == "__main__":
    main()
