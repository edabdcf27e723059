"""The tiles that a conversion ranges and judges with: the run's own, the user's images again, or drawn smears.

A run that is passed on without its tiles (the images may not be) is still converted: activation ranges come from drawn
smears in the training set's colours, and so does the judgement, which can then speak of agreement only.
docs/results/calibration.md measures what that costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Item, read_dataset
from alledge.errors import DataError
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.palette import Palette, recolour
from alledge.preprocess import Preprocessing, prepare_field
from alledge.runfolder import CALIBRATION_TILES, HELD_OUT_TILES, Tiles, TrainingRecord, read_tiles
from alledge.synthetic import draw_field

Origin = Literal["run", "data", "drawn"]
WORDS: dict[Origin, str] = {"run": "tiles of the run", "data": "images given with --data", "drawn": "drawn smears"}
RANGING_DRAWN, JUDGING_DRAWN = 200, 300  # two in three or more are decided: enough to prove 98 % agreement
KEPT = 200  # training images that are read of --data, as many as a run keeps
_RANGING_SEED, _JUDGING_SEED = 7_000_000, 8_000_000  # far from each other and from the goldens'


@dataclass(frozen=True)
class Sample:
    """Tiles and where they came from. names: what a report calls each of them."""

    tiles: Tiles
    origin: Origin
    names: tuple[str, ...]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [n, S, S, channels], RGB first."""
        return self.tiles.pixels

    @property
    def truth(self) -> NDArray[np.int64]:
        """[n] class indices; of drawn smears the class that was drawn, which is no diagnosis."""
        return self.tiles.truth

    @property
    def real(self) -> bool:
        """Whether accuracy on it means anything."""
        return self.origin != "drawn"


def find_tiles(run: Path, record: TrainingRecord, data: Path | None, split: Path | None) -> tuple[Sample, Sample]:
    """Training tiles to range with and held-out tiles to judge with.

    Raises:
        UsageError, DataError: when what should be read cannot be.
    """
    if data is not None:
        return _from_images(record, data, split)
    return (_from_run(run, CALIBRATION_TILES, record, RANGING_DRAWN, _RANGING_SEED),
            _from_run(run, HELD_OUT_TILES, record, JUDGING_DRAWN, _JUDGING_SEED))


def spread(tiles: Tiles | Sample, limit: int) -> NDArray[np.intp]:
    """Indices of at most `limit` tiles, always the same ones, even over the classes and over the stains of each.

    Within a class tiles stand in the order of their colour (position along the main axis of mean RGB), and every k-th
    is taken: systematic sampling, so each stain has its share without anyone having named the stains.
    """
    truth, colour = tiles.truth, tiles.pixels[..., :3].mean((1, 2))
    centred = colour - colour.mean(0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.lexsort((centred @ axis * np.sign(axis.sum() or 1.0), truth))
    if len(order) <= limit:
        return np.arange(len(order))
    return np.asarray(order[np.linspace(0, len(order) - 1, limit).round().astype(int)], np.intp)


def draw_tiles(preprocessing: Preprocessing, palette: Palette | None, n: int, seed: int) -> Tiles:
    """n drawn smears as the model sees them, classes in turn, in the colours of `palette` where there is one."""
    random = np.random.default_rng(seed)
    truth = np.arange(n) % len(LABELS)
    pixels = []
    for number, label in enumerate(truth):
        tile = prepare_field(draw_field(LABELS[label], seed + number, preprocessing.size).rgb, preprocessing).tile
        pixels.append(tile if palette is None else recolour(tile, int(label), palette, random))
    return Tiles(pixels=np.stack(pixels), truth=truth)


def _from_run(run: Path, name: str, record: TrainingRecord, drawn: int, seed: int) -> Sample:
    if not (run / name).is_file():
        return _named(draw_tiles(record.preprocessing, record.palette, drawn, seed), "drawn", "drawn smear")
    return _named(_checked(run / name, read_tiles(run, name), record.preprocessing), "run", "tile")


def _named(tiles: Tiles, origin: Origin, noun: str) -> Sample:
    return Sample(tiles, origin, tuple(f"{noun} {i}" for i in range(len(tiles.truth))))


def _from_images(record: TrainingRecord, data: Path, split: Path | None) -> tuple[Sample, Sample]:
    dataset = read_dataset(data, split)
    if record.provenance.get("split_sha256") != dataset.split_sha256:
        raise DataError(f"{data}: its split is not the one the run was trained with, so its held-out images may have "
                        "been trained on; name the same images and --split, or leave --data out")
    for name in ("train", "val"):
        if not dataset.subset(name):
            raise DataError(f"{data}: its split has no {name} rows to range or judge on; leave --data out, and drawn "
                            "smears take their place")
    return (_read(record.preprocessing, _few(dataset.subset("train"))),
            _read(record.preprocessing, dataset.subset("val")))


def _few(items: Sequence[Item]) -> list[Item]:
    """About `KEPT` items, even over classes and over the groups within each."""
    order = sorted(items, key=lambda item: (item.index, item.group, item.md5))
    return [order[i] for i in np.linspace(0, len(order) - 1, min(KEPT, len(order))).round().astype(int)]


def _read(preprocessing: Preprocessing, items: Sequence[Item]) -> Sample:
    pixels = np.stack([prepare_field(read_image(item.path, halve=True), preprocessing).tile for item in items])
    truth = np.array([item.index for item in items], np.int64)
    return Sample(Tiles(pixels=pixels, truth=truth), "data",
                  tuple(f"{item.path.parent.name}/{item.path.name}" for item in items))


def _checked(path: Path, tiles: Tiles, preprocessing: Preprocessing) -> Tiles:
    shape, truth = tiles.pixels.shape, tiles.truth
    wanted = (preprocessing.size, preprocessing.size, preprocessing.channels)
    if tiles.pixels.dtype != np.uint8 or shape[1:] != wanted or not len(tiles.pixels):
        raise DataError(f"{path}: expected uint8 [n, {', '.join(map(str, wanted))}] with n >= 1, received "
                        f"{tiles.pixels.dtype} {list(shape)}; train the run again")
    if truth.shape != shape[:1] or truth.min() < 0 or truth.max() >= len(LABELS):
        raise DataError(f"{path}: expected one class index 0 to {len(LABELS) - 1} for each of {shape[0]} tiles, "
                        f"received {list(truth.shape)} values; train the run again")
    return tiles
