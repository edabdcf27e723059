"""The paper's protocol (arXiv 2508.17216, section 6 and Table 3), its order of steps put right, or left as it was.

100 test images per class are drawn at random. Of the others each has a twin in which our own segmentation (mode
`paper`) has blacked out what is no nucleus, and originals and twins are varied until there are 1,800 per class, a
tenth of them for validation. `paper` deals first and varies then; a validation tile has no twin or copy in training,
and a test image has none anywhere. `leaky` does it the paper's way: everything is multiplied first and dealt then,
so twins and copies of test images are learned from. The 400 test images are the same in both: what the figures differ
by is the leak. Both draw single images, so near-twins of one slide stand on both sides; `split` is the honest way.

It is not all of the paper's training. Ours, because the paper has otherwise or its value is not at hand:

- the segmentation of the twins (`alledge.segmentation`), the kinds of variation (`augment`), the tenth for validation;
- a patience of 5 epochs, a rate that does not decay and gradients that are not clipped; the best epoch is kept;
- with pretrained weights, layers up to an eighth of the image's width and all BatchNorm stay frozen
  (`backbones._freeze`);
- gamma 2 and alpha_t by inverse class frequency (`learn.focal_loss`); as many tiles of each class make it 1;
- dropout 0.3 (a row of `backbones`), L2 of 1e-4, 8 attention heads of 64, 256 and 64 hidden units (`heads`), and the
  head `compact` altogether.

`DEPARTURES` says so under every table of both protocols.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Dataset, Item
from alledge.errors import DataError
from alledge.labels import LABELS
from alledge.output import Progress
from alledge.preprocess import Preprocessing
from alledge.runfolder import Tiles, joined

from .augment import augment
from .backbones import Backbone
from .batches import read_tiles
from .findings import LEAKY
from .heads import EMBEDDING, PAPER_HEAD_WIDTH, PAPER_HEADS, PAPER_HIDDEN, WEIGHT_DECAY
from .options import Options
from .protocol import Protocol, Rows
from .recipe import FOCUS, Recipe, recipe_for

TEST_PER_CLASS = 100
PER_CLASS = 1800
SIZE = 224  # px, 6.1.1: every network gets the same
EPOCHS = 30  # Table 3, as the next two
BATCH = 32
LEARNING_RATE = 1e-4
PATIENCE = 5
VALIDATION_SHARE = 0.1  # 720 of 7,200
DEPARTURES = (
    "Not all of this is the paper's training: pretrained layers up to an eighth of the image's width and all "
    f"normalisation stay frozen. Ours too, for want of the paper's values: dropout {Backbone.dropout}, L2 of "
    f"{WEIGHT_DECAY}, {PAPER_HEADS} attention heads of {PAPER_HEAD_WIDTH} and hidden layers of {PAPER_HIDDEN} and "
    f"{EMBEDDING} units in head `mhsa`, head `compact`, gamma {FOCUS:g} with alpha by class frequency, patience "
    f"{PATIENCE}, a constant rate without clipping, the segmentation and the kinds of variation.")


@dataclass(frozen=True)
class Paper:
    """The protocol with its numbers.

    Attributes:
        test_per_class: images drawn for the test.
        per_class: tiles to learn from after multiplication, training and validation together.
        leaky: multiply first and deal then.
        seed: of the draw and of the copies; apart from the training's, so that all networks see the same tiles.
    """

    test_per_class: int = TEST_PER_CLASS
    per_class: int = PER_CLASS
    leaky: bool = False
    seed: int = 0

    @property
    def protocol(self) -> Protocol:
        """What `train` wants to know."""
        return Protocol(f"{LEAKY if self.leaky else 'paper'}, {self.per_class} tiles per class", self.read, recipe,
                        SIZE)

    def deal(self, dataset: Dataset) -> Dataset:
        """The same items with new subsets, drawn per class; identical files stay together.

        Raises:
            DataError: when a class has too few different images.
        """
        subset_of = {}
        for label in LABELS:
            files = sorted({i.md5 for i in dataset.items if i.label == label})
            if files and len(files) < self.test_per_class + 2:
                raise DataError(f"{label} has {len(files)} different images: expected at least "
                                f"{self.test_per_class + 2}, {self.test_per_class} of them for the test; add images or "
                                "lower --test-per-class")
            random.Random(f"{self.seed} {label}").shuffle(files)
            test, rest = files[:self.test_per_class], files[self.test_per_class:]
            validation = max(1, round(len(rest) * VALIDATION_SHARE))
            subset_of.update({**dict.fromkeys(test, "test"), **dict.fromkeys(rest[:validation], "val"),
                              **dict.fromkeys(rest[validation:], "train")})
        return Dataset(dataset.root, tuple(replace(i, subset=subset_of[i.md5]) for i in dataset.items))

    def read(self, items: Rows, preprocessing: Preprocessing, progress: Progress) -> dict[str, Tiles]:
        """Tiles of dealt rows: multiplied `train` and `val`, and the test originals."""
        draws = np.random.default_rng(self.seed)
        pools = {name: _with_twins(rows, preprocessing, progress) for name, rows in items.items()}
        progress.say(f"multiplying to {self.per_class} tiles per class")
        n_val = round(self.per_class * VALIDATION_SHARE)
        test = Tiles(pixels=pools["test"].pixels[:len(items["test"])], truth=pools["test"].truth[:len(items["test"])])
        if not self.leaky:
            return {"train": _fill(pools["train"], self.per_class - n_val, draws),
                    "val": _fill(pools["val"], n_val, draws), "test": test}
        pool = joined([pools[name] for name in ("test", "train", "val")])
        whole = _fill(pool, self.per_class, draws, barred=len(items["test"]))
        place = np.concatenate([draws.permutation(np.flatnonzero(whole.truth == c)) for c in np.unique(whole.truth)])
        to_val = np.arange(len(place)) % self.per_class < n_val
        return {"train": _rows(whole, place[~to_val]), "val": _rows(whole, place[to_val]), "test": test}


def recipe(options: Options) -> Recipe:
    """Table 3: Adam at a constant 1e-4, early stopping on the validation loss; the tiles are varied already."""
    return replace(recipe_for(options), learning_rate=LEARNING_RATE, decay=False, clip_norm=None, strength=0.0,
                   patience=PATIENCE)


def _with_twins(rows: Sequence[Item], preprocessing: Preprocessing, progress: Progress) -> Tiles:
    """Originals, then their segmented twins in the same order."""
    with progress.bar("reading and segmenting", 2 * len(rows)) as step:
        return joined([read_tiles(rows, preprocessing.model_copy(update={"segment": mode}), step, progress.say)
                      for mode in ("none", "paper")])


def _fill(pool: Tiles, per_class: int, draws: np.random.Generator, barred: int = 0) -> Tiles:
    """As many of each class: the pool's own tiles, and varied copies of random ones where there are too few.

    The first `barred` tiles are only copied.
    """
    rows: list[int] = []
    copied: list[bool] = []
    for c in np.unique(pool.truth):
        sources = np.flatnonzero(pool.truth == c)
        own = draws.permutation(sources[sources >= barred])[:per_class]
        copies = draws.choice(sources, per_class - len(own))
        rows += [*own.tolist(), *copies.tolist()]
        copied += [False] * len(own) + [True] * len(copies)
    pixels = np.empty((len(rows), *pool.pixels.shape[1:]), np.uint8)
    for i, (row, copy) in enumerate(zip(rows, copied, strict=True)):
        pixels[i] = augment(pool.pixels[row], draws) if copy else pool.pixels[row]
    return Tiles(pixels=pixels, truth=pool.truth[rows])


def _rows(tiles: Tiles, rows: NDArray[np.intp]) -> Tiles:
    return Tiles(pixels=tiles.pixels[rows], truth=tiles.truth[rows])
