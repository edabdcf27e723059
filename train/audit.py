"""How much of the label a data set gives away before any model sees a cell."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Dataset, Item
from alledge.errors import DataError, ImageError
from alledge.images import read_image
from alledge.labels import LABELS

from .baseline import histogram_accuracy

HASH_SIDE = 16  # 256-bit difference hash
NEAR_BITS = 10  # of 256; unrelated smears of one stain differ in about 100
_SHOWN = 5


def audit(dataset: Dataset) -> dict[str, Any]:
    """Counts, sizes, duplicates, near-duplicates across subsets, unusable files and the colour-histogram baseline.

    Raises:
        DataError: when not one image is usable.
    """
    images, unusable = _read_all(dataset.items)
    items = tuple(item for item in dataset.items if item.path in images)
    if not items:
        raise DataError(f"{dataset.root}: none of {len(unusable)} images is usable; the first: {unusable[0]}")
    usable = Dataset(dataset.root, items)
    near = _near_duplicates(items, np.stack([difference_hash(images[item.path]) for item in items]))
    return {
        "images": len(items),
        "per_class": {label: sum(i.label == label for i in items) for label in LABELS},
        "per_subset": dict(Counter(i.subset for i in items)),
        "sizes": dict(Counter(f"{image.shape[1]}x{image.shape[0]}" for image in images.values()).most_common(_SHOWN)),
        "unusable": unusable,
        "exact_duplicates": _exact_duplicates(items),
        "near_duplicates_across_subsets": {"count": len(near), "examples": near[:_SHOWN]},
        "baseline_histogram_accuracy": histogram_accuracy(usable.subset("train"), usable.subset("test")),
        "split_sha256": dataset.split_sha256,
    }


def _read_all(items: Sequence[Item]) -> tuple[dict[Path, NDArray[np.uint8]], list[str]]:
    """Pixels of every usable file, and one sentence for each of the others."""
    images, unusable = {}, []
    for item in items:
        try:
            images[item.path] = read_image(item.path)
        except ImageError as error:
            unusable.append(str(error))
    return images, unusable


def difference_hash(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[256] bits: is each of 16 x 16 cells brighter than its right neighbour. Survives scaling and recompression."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray((small[:, 1:] > small[:, :-1]).ravel())


def _exact_duplicates(items: Sequence[Item]) -> list[list[str]]:
    same = defaultdict(list)
    for item in items:
        same[item.md5].append(str(item.path))
    return [paths for paths in same.values() if len(paths) > 1]


def _near_duplicates(items: Sequence[Item], bits: NDArray[np.bool_]) -> list[list[str]]:
    """Pairs from different subsets whose hashes differ in at most `NEAR_BITS` bits."""
    signs = np.where(bits, 1, -1).astype(np.float32)
    subsets = np.array([i.subset for i in items])
    pairs = []
    for row in range(len(items)):
        distance = (bits.shape[1] - signs[row + 1:] @ signs[row]) / 2
        for other in np.flatnonzero((distance <= NEAR_BITS) & (subsets[row + 1:] != subsets[row])):
            pairs.append([str(items[row].path), str(items[row + 1 + int(other)].path)])
    return pairs

