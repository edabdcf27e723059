"""Teaching the head of a network whose trunk stays as it is: the trunk looks at a tile once, not in every epoch.

What the trunk makes of `VIEWS` variations of each tile is kept in memory, so that many heads can be taught on
it. That pays for an honest calibration: heads taught without a part of the groups judge that part; temperature,
abstention and domain gate are fitted on these judgements of all training and validation rows; and the head that ships
has learned from every one of the rows. Taking 15 % of the rows away for validation would cost more than it tells: they
hold slides of a kind that no other row shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.calibration import Calibration, fit_calibration, fit_gate
from alledge.errors import DataError
from alledge.labels import LABELS
from alledge.output import Progress
from alledge.palette import colour_figures
from alledge.preprocess import Preprocessing, scale
from alledge.runfolder import Tiles

from .augment import augment
from .heads import OPINIONS
from .learn import History, focal_loss, schedule
from .model import build_model
from .options import Options
from .recipe import Recipe

VIEWS = 8  # variations of a tile that a head learns from; the first is the tile itself
PARTS = 4  # of the groups, to judge each with a head that has not seen it
_AT_ONCE = 32  # tiles per prediction

Look = tuple[NDArray[np.float16], ...]


@dataclass(frozen=True)
class Taught:
    """A network, what teaching its head came to, and the calibration from heads that had not seen what they judged."""

    model: keras.Model
    history: History
    calibration: Calibration


def teach(tiles: Tiles, groups: Sequence[str], preprocessing: Preprocessing, options: Options, recipe: Recipe,
          progress: Progress) -> Taught:
    """Teach the head of a pretrained network on all of `tiles`, and calibrate it on rows that were held out in turn.

    Args:
        tiles: training and validation rows.
        groups: of each tile; a group is never cut.
        preprocessing: what the network wants done to tiles.
        options: what the user asked for.
        recipe: how to teach.
        progress: who is told.

    Raises:
        DataError: when a class has a single group, which could not be held out.
    """
    keras.utils.set_random_seed(options.seed)
    model = build_model(options.backbone, options.weights, options.head, preprocessing.size)
    trunk, head = cut(model)
    parts = deal(groups, tiles.truth)
    looks = look(trunk, tiles, preprocessing, recipe, progress)
    colours = np.stack([colour_figures(tile) for tile in tiles.pixels])
    raw = np.empty((len(groups), len(LABELS)))
    beyond = np.empty(len(groups))
    for part in np.unique(parts):
        progress.say(f"judging part {part + 1} of {parts.max() + 1} with a head that has not seen it")
        inside, outside = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        other = keras.models.clone_model(head)
        fit(other, looks, tiles.truth, inside, options, recipe)
        raw[outside], _ = _answer(other, looks, outside)
        gate = fit_gate(_measured(other, looks, colours, inside), tiles.truth[inside])
        beyond[outside] = gate.distance(_measured(other, looks, colours, outside))
    history = fit(head, looks, tiles.truth, np.arange(len(groups)), options, recipe)
    gate = fit_gate(_measured(head, looks, colours, np.arange(len(groups))), tiles.truth)
    return Taught(model, history, fit_calibration(raw, beyond, tiles.truth, gate))


def deal(groups: Sequence[str], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n] part of each row, 0 to `PARTS` - 1 or as many as the class with the fewest groups has groups.

    Whole groups, largest first, go to the part with the fewest of their class.

    Raises:
        DataError: when a class has a single group.
    """
    names = np.asarray(groups)
    fewest, label = min((len(set(names[truth == label])), label) for label in np.unique(truth))
    if fewest < 2:
        raise DataError(f"all images of {LABELS[label]} are of one group: expected at least two, so that one can be "
                        "held out to calibrate on; add images, or choose --head compact")
    parts = min(PARTS, fewest)
    part = np.empty(len(names), np.int64)
    held = np.zeros((parts, len(LABELS)), int)
    found, sizes = np.unique(names, return_counts=True)
    for i in np.lexsort((found, -sizes)):
        counts = np.bincount(truth[names == found[i]], minlength=len(LABELS))
        emptiest = held[:, counts > 0].sum(1).argmin()
        part[names == found[i]] = emptiest
        held[emptiest] += counts
    return part


def cut(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Trunk (image -> what the head sees) and head (that -> opinions, probs and embedding), sharing their weights."""
    seam = [model.get_layer("figures_flat").output, model.get_layer("attended_weight").output,
            model.get_layer("project").input]
    opinions = {name: model.get_layer(name).output for name in OPINIONS}
    return keras.Model(model.inputs, seam), keras.Model(seam, {**opinions, **model.output})


def look(trunk: keras.Model, tiles: Tiles, preprocessing: Preprocessing, recipe: Recipe,
         progress: Progress) -> list[NDArray[np.float16]]:
    """What the trunk makes of every view of every tile: arrays [VIEWS, n, ...], the seam's in turn."""
    book = _book(_digest(*trunk.get_weights(), recipe.strength), preprocessing)
    names = [_digest(tile) for tile in tiles.pixels]
    new = [row for row, name in enumerate(names) if name not in book]
    with progress.bar("looking", len(new)) as step:
        for start in range(0, len(new), _AT_ONCE):
            rows = new[start:start + _AT_ONCE]
            views = _views(trunk, tiles.pixels[rows], [names[r] for r in rows], preprocessing, recipe)
            for row, seen in zip(rows, views, strict=True):
                book[names[row]] = seen
                step()
    return [np.stack([book[name][i] for name in names], axis=1) for i in range(len(trunk.outputs))]


def _views(trunk: keras.Model, pixels: NDArray[np.uint8], names: Sequence[str], preprocessing: Preprocessing,
           recipe: Recipe) -> list[Look]:
    """Per tile, what the trunk makes of its views. A tile always gets the same ones, whatever else is learned from."""
    seen = []
    for view in range(VIEWS):
        varied = [tile if view == 0 else augment(tile, np.random.default_rng((int(name, 16), view)), recipe.strength)
                  for tile, name in zip(pixels, names, strict=True)]
        seen.append([np.asarray(x, np.float16) for x in trunk.predict_on_batch(scale(np.stack(varied), preprocessing))])
    return [tuple(np.stack([view[i][row] for view in seen]) for i in range(len(seen[0]))) for row in range(len(pixels))]


@lru_cache(maxsize=1)
def _book(trunk: str, preprocessing: Preprocessing) -> dict[str, Look]:
    """Tile -> its look. The folds of a cross-validation share it: they differ in who learns, not in what is seen."""
    return {}


def _digest(*arrays: Any) -> str:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class _Views(keras.utils.PyDataset):
    """Batches of one random view of each row, shuffled; the same seed gives the same ones."""

    def __init__(self, looks: Sequence[NDArray[np.float16]], truth: NDArray[np.int64], rows: NDArray[np.intp],
                 batch: int, seed: int) -> None:
        super().__init__()
        self._looks, self._truth, self._rows, self._batch, self._seed, self._epoch = looks, truth, rows, batch, seed, 0

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch)

    def __getitem__(self, index: int) -> tuple[tuple[NDArray[np.float32], ...], dict[str, NDArray[np.float32]]]:
        random = np.random.default_rng((self._seed, self._epoch))
        these = slice(index * self._batch, (index + 1) * self._batch)
        rows = random.permutation(self._rows)[these]
        views = random.integers(VIEWS, size=len(self._rows))[these]
        truth = np.eye(len(LABELS), dtype=np.float32)[self._truth[rows]]
        return tuple(look[views, rows].astype(np.float32) for look in self._looks), dict.fromkeys(OPINIONS, truth)

    def on_epoch_end(self) -> None:
        """Other views in another order."""
        self._epoch += 1


def fit(head: keras.Model, looks: Sequence[NDArray[np.float16]], truth: NDArray[np.int64], rows: NDArray[np.intp],
        options: Options, recipe: Recipe) -> History:
    """Teach both opinions, each by its own loss, so that neither leaves the work to the other.

    Returns:
        The sum of both losses and the first opinion's accuracy on training views, one value per epoch.
    """
    batches = _Views(looks, truth, rows, options.batch, options.seed)
    taught = keras.Model(head.inputs, {name: head.output[name] for name in OPINIONS})
    taught.compile(keras.optimizers.Adam(schedule(recipe, len(batches) * options.epochs), clipnorm=recipe.clip_norm),
                   loss={name: focal_loss(recipe, truth[rows]) for name in OPINIONS},
                   metrics={OPINIONS[0]: ["accuracy"]})
    history = taught.fit(batches, epochs=options.epochs, verbose=0).history
    return {"loss": [float(v) for v in history["loss"]],
            "accuracy": [float(v) for v in history[f"{OPINIONS[0]}_accuracy"]]}


def _answer(head: keras.Model, looks: Sequence[NDArray[np.float16]],
            rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities [n, 4] and embeddings [n, d] of the tiles themselves."""
    parts = [head.predict_on_batch([look[0, rows[i:i + _AT_ONCE]].astype(np.float32) for look in looks])
             for i in range(0, len(rows), _AT_ONCE)]
    return np.concatenate([p["probs"] for p in parts]), np.concatenate([p["embedding"] for p in parts])


def _measured(head: keras.Model, looks: Sequence[NDArray[np.float16]], colours: NDArray[np.float64],
              rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """What `gate_input` makes of rows, with their colours known."""
    return np.concatenate([_answer(head, looks, rows)[1].astype(np.float64), colours[rows]], axis=1)
