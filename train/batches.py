"""Tiles to batches: decode and segment every file once, then augment and scale on the fly."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge import glass, images, kmeans1d, morphology, planes, preprocess, segmentation, shrink
from alledge.dataset import Item
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.preprocess import Preprocessing, prepare_field, scale
from alledge.runfolder import Tiles

from .augment import augment
from .cache import kept, settings

_TILES_MADE_BY = (glass, images, kmeans1d, morphology, planes, preprocess, segmentation, shrink)


def read_tiles(items: Sequence[Item], preprocessing: Preprocessing, on_file: Callable[[], None] = lambda: None,
               tell: Callable[[str], None] = lambda line: None) -> Tiles:
    """Decode, crop, resize and mask each item, or take its tile from the cache.

    Args:
        items: in the order of the tiles.
        preprocessing: how.
        on_file: called after each file that had to be decoded.
        tell: called with one sentence when the cache cannot be used.

    Raises:
        ImageError: for the first file that is not a usable image.
    """
    def make(row: int) -> NDArray[np.uint8]:
        tile = prepare_field(read_image(items[row].path, halve=True), preprocessing).tile
        on_file()
        return tile

    truth = np.array([item.index for item in items], np.int64)
    return Tiles(pixels=kept(tile_place(preprocessing), [item.md5 for item in items], make, tell), truth=truth)


def tile_place(preprocessing: Preprocessing) -> str:
    """Where the cache has tiles of these settings. Scale and offset are not in it: they come after the tile."""
    told = preprocessing.model_dump_json(exclude={"scale", "offset"})
    return f"tiles/{settings(f'{preprocessing.size}-{preprocessing.segment}', told, _TILES_MADE_BY)}"


WORKERS = min(8, os.cpu_count() or 2)  # threads that augment; OpenCV frees the interpreter while it works


class Batches(keras.utils.PyDataset):
    """Batches of (float32 [n, S, S, channels], one-hot float32 [n, 4]) for `fit`.

    With a seed the order is shuffled and every tile augmented; each (seed, epoch, batch) draws its own random
    stream, so the same seed gives the same batches whatever the number of workers.

    `shares` devices get equal parts of every batch; the last rows of an epoch that do not fill all of them are left
    out.
    """

    def __init__(self, tiles: Tiles, preprocessing: Preprocessing, batch: int, seed: int | None = None,
                 strength: float = 1.0, shares: int = 1) -> None:
        super().__init__(workers=1 if seed is None else WORKERS, use_multiprocessing=False, max_queue_size=8)
        self._tiles, self._preprocessing, self._batch = tiles, preprocessing, batch
        self._rows = len(tiles.truth) - len(tiles.truth) % shares
        self._seed, self._strength, self._epoch = seed, strength, 0
        self._order = self._shuffle()

    def __len__(self) -> int:
        return -(-self._rows // self._batch)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = self._order[index * self._batch:min((index + 1) * self._batch, self._rows)]
        pixels = self._tiles.pixels[rows]
        if self._seed is not None:
            random = np.random.default_rng((self._seed, self._epoch, index))
            pixels = np.stack([augment(tile, random, self._strength) for tile in pixels])
        truth = np.eye(len(LABELS), dtype=np.float32)[self._tiles.truth[rows]]
        return scale(pixels, self._preprocessing), truth

    def begin(self, epoch: int) -> None:
        """Go to the batches of an epoch, counted from 0. (`on_epoch_end` would not do: how often it is called before
        the first epoch depends on the Keras backend.)
        """
        self._epoch = epoch
        self._order = self._shuffle()

    def _shuffle(self) -> NDArray[Any]:
        rows = np.arange(len(self._tiles.truth))
        return rows if self._seed is None else np.random.default_rng((self._seed, self._epoch)).permutation(rows)


def predict(model: keras.Model, pixels: NDArray[np.uint8], preprocessing: Preprocessing,
            batch: int = 32) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Uncalibrated probabilities [n, 4] and embeddings [n, d] of tiles uint8 [n, S, S, c], one batch at a time."""
    parts = [model.predict_on_batch(scale(pixels[i:i + batch], preprocessing)) for i in range(0, len(pixels), batch)]
    return (np.concatenate([p["probs"] for p in parts]), np.concatenate([p["embedding"] for p in parts]))
