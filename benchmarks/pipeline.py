"""Does the input pipeline keep the network fed? Writes docs/results/pipeline.md.

    python benchmarks/pipeline.py [--data FOLDER] [--backbone NAME] [--out FILE]

Ways to the same augmented, masked, scaled batches take turns: the paper's (each image decoded and clustered by
scikit-learn again in every epoch), ours without a cache, and ours as `alledge train` runs it, on tiles mapped from the
cache. Beside them the step of the network that has to be fed. All ways have the same threads. Ratios are of process
CPU, which other work on the machine disturbs least; images per second are by the clock. FOLDER holds class folders;
without it smears are drawn.
"""

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from segmentation import papers_way
from threadpoolctl import threadpool_limits

from alledge.dataset import Item, read_dataset
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.preprocess import Preprocessing, prepare_field, resize, scale
from alledge.synthetic import write_dataset
from alledge.train.augment import augment
from alledge.train.backbones import preprocessing_for
from alledge.train.batches import WORKERS, Batches, read_tiles
from alledge.train.losses import FocalLoss
from alledge.train.model import build_model

BATCH = 32
BATCHES = 8  # per turn of a fast way; the paper's and the network get one
ROUNDS = 7
AIM = 20  # times the images per second of the paper's way
Pixels = NDArray[np.uint8]
Costs = dict[str, list[tuple[float, float]]]  # way -> (CPU ms, wall-clock ms) per image, of each round

PAPERS = "paper's way: decode, k-means by scikit-learn, SciPy, augment"
CACHED = "alledge: tiles from the cache, augment"
STEP = "the network's step"


def papers_tile(item: Item, side: int) -> Pixels:
    """Decoded and masked as the paper does it."""
    tile = resize(read_image(item.path), side)
    return np.asarray(cv2.copyTo(tile, papers_way(tile), np.zeros_like(tile)), np.uint8)


def our_tile(item: Item, preprocessing: Preprocessing) -> Pixels:
    """Decoded and masked by us."""
    return prepare_field(read_image(item.path), preprocessing).tile


def ways(items: Sequence[Item], preprocessing: Preprocessing) -> dict[str, tuple[int, Callable[[int], object]]]:
    """Name -> how many batches a turn has, and what makes batch i."""
    tiles = read_tiles(items, preprocessing)
    cached, plain = Batches(tiles, preprocessing, BATCH, seed=0), Batches(tiles, preprocessing, BATCH)

    def fresh(tile: Callable[[Item], Pixels]) -> Callable[[int], object]:
        def batch(i: int) -> object:
            random = np.random.default_rng(i)
            return scale(np.stack([augment(tile(item), random) for item in items[i * BATCH:(i + 1) * BATCH]]),
                         preprocessing)

        return batch

    return {
        PAPERS: (2, fresh(lambda item: papers_tile(item, preprocessing.size))),
        "alledge without a cache: decode, one cut, augment": (BATCHES, fresh(lambda i: our_tile(i, preprocessing))),
        CACHED: (BATCHES, cached.__getitem__),
        "the same without augmentation": (BATCHES, plain.__getitem__),
    }


def network_step(backbone: str, size: int) -> Callable[[], object]:
    """One step of training from nothing, all layers learning, on one batch."""
    model = build_model(backbone, "none", size=size)
    trained = keras.Model(model.inputs, model.output["probs"])
    trained.compile("adam", FocalLoss())
    x = np.random.default_rng(0).random((BATCH, size, size, 3), np.float32)
    y = np.eye(len(LABELS), dtype=np.float32)[np.arange(BATCH) % len(LABELS)]
    trained.train_on_batch(x, y)
    return lambda: trained.train_on_batch(x, y)


def measure(items: Sequence[Item], preprocessing: Preprocessing, backbone: str) -> Costs:
    """What an image costs each way, and the network."""
    costs: Costs = {}
    step = network_step(backbone, preprocessing.size)
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(ROUNDS):
            for name, (batches, make) in ways(items, preprocessing).items():
                with threadpool_limits(1, "openmp"), timed(costs.setdefault(name, []), batches * BATCH):
                    list(pool.map(make, range(batches)))  # one image per thread serves k-means best
            with timed(costs.setdefault(STEP, []), BATCH):
                step()
    return costs


@contextmanager
def timed(into: list[tuple[float, float]], images: int) -> Iterator[None]:
    """Appends the milliseconds of CPU and of the clock that each image took."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    into.append(((time.process_time() - cpu) / images * 1e3, (time.perf_counter() - wall) / images * 1e3))


def parts(items: Sequence[Item], preprocessing: Preprocessing) -> dict[str, float]:
    """Part of a cached image's way -> mean process-CPU milliseconds per image, one thread."""
    pixels = read_tiles(items[:BATCH], preprocessing).pixels
    random = np.random.default_rng(0)
    steps: dict[str, Callable[[Pixels], object]] = {
        "copy the tile": lambda tile: tile.copy(), "augment": lambda tile: augment(tile, random),
        "scale to float32": lambda tile: scale(tile, preprocessing)}
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for tile in [*pixels] * ROUNDS:
        for name, step in steps.items():
            started = time.process_time_ns()
            step(tile)
            spent[name].append((time.process_time_ns() - started) / 1e6)
    return {name: float(np.mean(values)) for name, values in spent.items()}


def table(costs: Costs) -> str:
    """Markdown: each way beside the paper's, with the spread over rounds."""
    rows = ["| way | paper's way takes | CPU ms per image, median | lowest-highest | images/s by the clock |",
            "|---|---|---|---|---|"]
    for name, rounds in costs.items():
        cpu, wall = np.array(rounds).T
        rows.append(f"| {name} | {np.median(ratio(costs, PAPERS, name)):.1f}x | {np.median(cpu):.2f} | "
                    f"{cpu.min():.2f}-{cpu.max():.2f} | {1e3 / np.median(wall):.0f} |")
    return "\n".join(rows)


def ratio(costs: Costs, slow: str, fast: str) -> NDArray[np.float64]:
    """CPU time of one way in that of another, for each round."""
    return np.array(costs[slow])[:, 0] / np.array(costs[fast])[:, 0]


def verdict(costs: Costs) -> str:
    """Whether the aim is met and the network kept busy, in words."""
    ratios = ratio(costs, PAPERS, CACHED)
    spare = float(np.median(ratio(costs, STEP, CACHED)))
    met = "met" if np.median(ratios) >= AIM else "**not met**"
    return (f"The aim was {AIM}x the paper's way: {met} here (median {np.median(ratios):.1f}x, lowest round "
            f"{ratios.min():.1f}x). The network's step takes {spare:.0f} times the CPU of making its batch, so the "
            f"network {'never waits for' if spare > 1 else '**waits for**'} its input here.")


def report(items: Sequence[Item], what: str, backbone: str) -> str:
    """The whole page as Markdown."""
    preprocessing = preprocessing_for(backbone, "paper")
    filling: list[tuple[float, float]] = []
    with timed(filling, len(items)):
        read_tiles(items, preprocessing)
    costs = measure(items, preprocessing, backbone)
    shares = ", ".join(f"{name} {ms:.2f}" for name, ms in parts(items, preprocessing).items())
    return f"""# Input pipeline

Command: `python benchmarks/pipeline.py --backbone {backbone}`, {datetime.date.today()}, {platform.machine()},
{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} (above the cores, the clock's column is worth little),
Python {platform.python_version()}, OpenCV {cv2.__version__}, NumPy {np.__version__}, Keras
{keras.__version__} on {keras.backend.backend()}. {what}, {preprocessing.size} px, batch {BATCH}, segmentation `paper`,
{WORKERS} threads for every way, {ROUNDS} rounds in which the ways take turns. The step is that of {backbone} with all
layers learning.

{table(costs)}

{verdict(costs)}

Filling the cache costs {filling[0][0]:.1f} ms of CPU per image, once. A cached image's way, ms of CPU on average:
{shares}.

Not measured here: a GPU, whose step may use up more than few cores can augment.
`python benchmarks/pipeline.py` on the machine in question measures it.
"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of class folders; else smears are drawn")
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--out", type=Path, default=Path("docs/results/pipeline.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ALLEDGE_CACHE"] = f"{scratch}/cache"
        root = options.data or Path(scratch, "smears")
        if not options.data:
            write_dataset(root, BATCH * BATCHES // len(LABELS), seed=0, size=224)
        items = read_dataset(root).items
        shuffled = [items[i] for i in np.random.default_rng(0).permutation(len(items))[:BATCH * BATCHES]]
        page = report(shuffled, f"{len(shuffled)} {'images of --data' if options.data else 'drawn smears'}",
                      options.backbone)
    options.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
