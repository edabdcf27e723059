"""The paper's protocol: what is dealt, what is multiplied, and where the leak is."""

import shutil

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.dataset import read_dataset
from alledge.errors import DataError
from alledge.output import Progress
from alledge.preprocess import Preprocessing
from alledge.train.batches import read_tiles
from alledge.train.paper import Paper

SMALL = Preprocessing(size=64)
TEST, PER_CLASS = 3, 40  # of 12 images per class


@pytest.fixture(scope="module")
def progress(tmp_path_factory):
    with (tmp_path_factory.mktemp("told") / "told.txt").open("w") as file:
        yield Progress(file)


def read(smears, progress, **changes):
    paper = Paper(TEST, PER_CLASS, **changes)
    dealt = paper.deal(read_dataset(smears))
    rows = {name: dealt.subset(name) for name in ("train", "val", "test")}
    return rows, paper.read(rows, SMALL, progress)


def images(tiles):
    return {tile.tobytes() for tile in tiles.pixels}


def twins(rows):
    return images(read_tiles(rows, SMALL.model_copy(update={"segment": "paper"})))


@pytest.mark.parametrize("leaky", [False, True])
def test_classes_are_dealt_and_filled_alike(smears, progress, leaky):
    rows, tiles = read(smears, progress, leaky=leaky)
    assert {name: len(r) for name, r in rows.items()} == {"train": 32, "val": 4, "test": 12}
    assert {name: np.bincount(t.truth).tolist() for name, t in tiles.items()} == {
        "train": [36] * 4, "val": [4] * 4, "test": [3] * 4}
    assert np.array_equal(tiles["test"].pixels, read_tiles(rows["test"], SMALL).pixels)


def test_dealt_first_nothing_of_a_test_image_is_learned_from(smears, progress):
    rows, tiles = read(smears, progress)
    learned = images(tiles["train"]) | images(tiles["val"])
    assert not learned & (images(tiles["test"]) | twins(rows["test"]))
    assert not images(tiles["train"]) & (images(tiles["val"]) | twins(rows["val"]))
    assert twins(rows["train"]) <= images(tiles["train"])


def test_multiplied_first_the_twins_of_test_images_are_learned_from(smears, progress):
    rows, tiles = read(smears, progress, leaky=True)
    learned = images(tiles["train"]) | images(tiles["val"])
    assert twins(rows["test"]) <= learned
    assert not learned & images(tiles["test"])


def test_both_orders_are_judged_on_the_same_images(smears):
    fair, leaky = (Paper(TEST, PER_CLASS, leaky=leaky).deal(read_dataset(smears)) for leaky in (False, True))
    assert fair.split_sha256 == leaky.split_sha256
    other = Paper(TEST, PER_CLASS, seed=1).deal(read_dataset(smears))
    assert other.split_sha256 != fair.split_sha256


def test_identical_files_are_dealt_together(smears, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(smears, root)
    (root / "split.csv").unlink()
    for place in range(6):
        shutil.copy(root / "pro_b" / f"pro_b_{place:04d}.png", root / "pro_b" / f"twin_{place}.png")
    dealt = Paper(TEST, PER_CLASS).deal(read_dataset(root))
    homes = {}
    for item in dealt.items:
        homes.setdefault(item.md5, set()).add(item.subset)
    assert all(len(home) == 1 for home in homes.values())


def test_a_class_too_small_for_the_protocol_is_named(smears):
    with pytest.raises(DataError, match=r"benign has 12 different images: expected at least 102.*--test-per-class"):
        Paper().deal(read_dataset(smears))
