"""Do the heat maps show what a network went by? Deletion and insertion curves, against random maps and the nuclei.

    alledge synth smears --per-class 150 --seed 4
    alledge train --data smears --backbone tiny --weights none --epochs 15 --out run
    python benchmarks/faithfulness.py --case "drawn smears" run smears -

`--case NAME RUN DATA SPLIT` (SPLIT `-`: the folder's own) can be given more than once. Images are test rows, as many of
each class. For each, the places of the network's grid are painted over with bare glass in the order of a map, the
hottest first (deletion), or put back into a field of bare glass (insertion; Petsiuk et al., BMVC 2018), and the
probability of the class first called is followed. A faithful map makes it fall, or rise, sooner than places in random
order do. Writes docs/results/faithfulness.md; intervals are bootstrapped over groups of images.
"""

import argparse
import datetime
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Item, read_dataset
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.preprocess import Preprocessing, prepare_field
from alledge.runfolder import read_record
from alledge.train.batches import predict
from alledge.train.explain import Explainer
from alledge.train.predict import load_model

STEPS = 10  # of a curve; the first is nothing done, the last everything
RANDOM_ORDERS = 8  # per image, averaged
RESAMPLES = 2000
NUCLEI = "nuclei"
TITLES = {"attention": "attention", "grad_cam": "Grad-CAM", NUCLEI: "nuclei (no network needed)"}


@dataclass(frozen=True)
class Gains:
    """How much sooner a map's curve moves than random ones, per image [n]; positive is better."""

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]


def orders(heat: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """Places from the hottest to the coldest; equal ones in random order."""
    return np.lexsort((random.random(heat.size), -heat.ravel()))


def covered(tile: NDArray[np.uint8], order: NDArray[np.int64], grid: tuple[int, int], glass: NDArray[np.uint8],
            inserting: bool) -> Iterator[NDArray[np.uint8]]:
    """The pictures of one curve, `STEPS` of them."""
    side = tile.shape[0]
    for count in np.linspace(0, order.size, STEPS).round().astype(int):
        chosen = np.zeros(grid, np.uint8)
        chosen.ravel()[order[:count]] = 1
        region = cv2.resize(chosen, (side, side), interpolation=cv2.INTER_NEAREST)[..., None].astype(bool)
        yield np.where(region == inserting, tile, glass)


def bare_glass(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A field [S, S, 3] of nothing but the mean colour of the brightest 30 % by green."""
    bright = tile[tile[..., 1] >= np.quantile(tile[..., 1], 0.7)]
    return np.broadcast_to(np.rint(bright.mean(0)).astype(np.uint8), tile.shape)


def areas(model: keras.Model, settings: Preprocessing, tile: NDArray[np.uint8], routes: list[NDArray[np.int64]],
          grid: tuple[int, int]) -> NDArray[np.float64]:
    """[routes, 2] areas under the deletion and the insertion curve of the class first called."""
    glass = bare_glass(tile)
    pictures = [picture for route in routes for inserting in (False, True)
                for picture in covered(tile, route, grid, glass, inserting)]
    probabilities = predict(model, np.stack(pictures), settings)[0]
    curves = probabilities[:, probabilities[0].argmax()].reshape(len(routes), 2, STEPS)  # the first picture is whole
    return np.asarray(np.trapezoid(curves, dx=1 / (STEPS - 1), axis=2), np.float64)


def measure(run: Path, items: list[Item]) -> dict[str, Gains]:
    """Gains of every map, and of the nuclei, over random orders."""
    record, model = read_record(run), load_model(run)
    settings, random = record.preprocessing, np.random.default_rng(0)
    explainer = Explainer(model, settings)
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for item in items:
        prepared = prepare_field(read_image(item.path), settings)
        heat = explainer.maps(prepared.tile).heat
        grid = min(h.shape for h in heat.values())  # the coarsest: every map is judged on the same places
        heat = {name: cv2.resize(h, grid[::-1], interpolation=cv2.INTER_AREA) for name, h in heat.items()}
        nuclei = cv2.resize(prepared.mask.pixels, grid[::-1], interpolation=cv2.INTER_AREA).astype(float)
        routes = [orders(h, random) for h in [*heat.values(), nuclei]]
        routes += [random.permutation(nuclei.size) for _ in range(RANDOM_ORDERS)]
        found = areas(model, settings, prepared.tile, routes, grid)
        chance = found[-RANDOM_ORDERS:].mean(0)
        for name, area in zip([*heat, NUCLEI], found, strict=False):
            rows.setdefault(name, []).append((area - chance) * (-1, 1))
    return {name: Gains(*np.array(values).T) for name, values in rows.items()}


def spread(items: tuple[Item, ...], count: int) -> list[Item]:
    """About `count` items, as many of each class, evenly over their order."""
    chosen = []
    for label in LABELS:
        of_class = [item for item in items if item.label == label]
        chosen += [of_class[i] for i in np.unique(np.linspace(0, len(of_class) - 1, count // 4).astype(int))]
    return chosen


def interval(values: NDArray[np.float64], items: list[Item]) -> tuple[float, float]:
    """95 % interval of the mean, drawn over whole groups."""
    names, unit = np.unique([item.group for item in items], return_inverse=True)
    weights = np.random.default_rng(1).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)[:, unit]
    low, high = np.percentile(weights @ values / weights.sum(1), (2.5, 97.5))
    return float(low), float(high)


def table(name: str, run: Path, items: list[Item]) -> str:
    """One section of the page."""
    record = read_record(run)
    lines = [f"## {name}", "", f"Run {record.run_id}: {record.options['backbone']}, head {record.options['head']}, "
             f"{record.options['epochs']} epochs, test accuracy {record.metrics['accuracy']:.1%}; {len(items)} test "
             f"images in {len({i.group for i in items})} groups.", "",
             "| map | deletion: falls sooner by | insertion: rises sooner by | better than random |",
             "|---|---|---|---|"]
    for which, gains in measure(run, items).items():
        bounds = [interval(values, items) for values in (gains.deletion, gains.insertion)]
        cells = [f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"
                 for values, (low, high) in zip((gains.deletion, gains.insertion), bounds, strict=True)]
        shown = [told for told, (low, _) in zip(("deletion", "insertion"), bounds, strict=True) if low > 0]
        worse = all(high < 0 for _, high in bounds)
        told = " and ".join(shown) or ("no: worse than random" if worse else "not shown")
        lines.append(f"| {TITLES[which]} | {' | '.join(cells)} | {told} |")
    return "\n".join(lines)


_PAGE = """# Are the heat maps faithful?

Command: see the head of `benchmarks/faithfulness.py`. {date}, {machine}. One run each: spread over seeds is not
measured here.

The area under a curve of the called class's probability, against the mean of {orders} random orders of the same places.
Larger is better; in brackets 95 % intervals, drawn over groups of images. "Better than random" only where the whole
interval is above 0. The last row paints over nuclei first without asking the network: a map that does no better than
that adds little to the outline of the nuclei.

{sections}

Run the command again for another run, above all for one that is to be relied on: a map of a network that was trained
for a few epochs says nothing about another one's.

A map can pass this and still mislead: painted-over fields are unlike any smear, and places interact. Do not read a
diagnosis from a heat map.
"""


def main() -> None:
    """Measure every case and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=4, action="append", required=True, metavar=("NAME", "RUN", "DATA", "SPLIT"))
    parser.add_argument("--images", type=int, default=60, help="test images per case")
    parser.add_argument("--out", type=Path, default=Path("docs/results/faithfulness.md"))
    options = parser.parse_args()
    sections = []
    for name, run, data, split in options.case:
        dataset = read_dataset(Path(data), None if split == "-" else Path(split))
        sections.append(table(name, Path(run), spread(dataset.subset("test"), options.images)))
        print(sections[-1], flush=True)
    options.out.write_text(_PAGE.format(
        date=datetime.date.today(), machine=f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        orders=RANDOM_ORDERS, sections="\n\n".join(sections)), encoding="utf-8")


if __name__ == "__main__":
    main()
