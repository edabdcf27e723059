"""Teaching the head of a network whose trunk stays as it is: the trunk looks at a tile once, not in every epoch.

What the trunk makes of `VIEWS` variations of each tile is kept in the cache, so that many heads can be taught on
it. That pays for an honest calibration: heads taught without a part of the groups judge that part; temperature,
abstention and domain gate are fitted on these judgements of all training and validation rows; and the head that ships
has learned from every one of the rows. Taking 15 % of the rows away for validation would cost more than it tells: they
hold slides of a kind that no other row shows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge import preprocess
from alledge.calibration import Calibration, fit_calibration, fit_gate, gate_figures
from alledge.errors import DataError
from alledge.labels import LABELS
from alledge.output import Progress
from alledge.palette import stain_figures
from alledge.preprocess import Preprocessing, scale
from alledge.runfolder import Tiles

from . import augment as augmenting
from .augment import augment
from .cache import kept, settings
from .checkpoint import HEADS, Checkpoint
from .epochs import KeepEpochs
from .heads import OPINIONS, POOLED_BY
from .learn import History, focal_loss, schedule
from .model import build_model
from .numerics import naming_the_batch
from .options import Options
from .recipe import Recipe

VIEWS = 8  # variations of a tile that a head learns from; the first is the tile itself
PARTS = 4  # of the groups, to judge each with a head that has not seen it
_AT_ONCE = 256  # tiles that are looked at before they are kept, and looks that a head answers to in one go


@dataclass(frozen=True)
class Taught:
    """A network, what teaching its head came to, and the calibration from heads that had not seen what they judged."""

    model: keras.Model
    history: History
    calibration: Calibration


@dataclass(frozen=True)
class Looks:
    """What the trunk makes of all views of all tiles.

    Attributes:
        values: float16 [n, VIEWS, d], the arrays of the seam one after the other.
        shapes: of these arrays, without the batch.
        names: of the tiles, by content.
    """

    values: NDArray[np.float16]
    shapes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]

    def __call__(self, rows: NDArray[np.intp], views: NDArray[np.int64] | int = 0) -> list[NDArray[np.float32]]:
        """The seam's arrays float32 [rows, ...] of one view of each row."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = np.split(self.values[rows, views].astype(np.float32), ends[:-1], axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]


def teach(tiles: Tiles, groups: Sequence[str], preprocessing: Preprocessing, options: Options, recipe: Recipe,
          progress: Progress, folder: Path | None = None) -> Taught:
    """Teach the head of a pretrained network on all of `tiles`, and calibrate it on rows that were held out in turn.

    Args:
        tiles: training and validation rows.
        groups: of each tile; a group is never cut.
        preprocessing: what the network wants done to tiles.
        options: what the user asked for.
        recipe: how to teach.
        progress: who is told.
        folder: where finished epochs are kept until `forget` is called, and gone on from; None keeps none.

    Raises:
        DataError: when a class has a single group, which could not be held out, or `folder` holds another training.
        OutputError: when `folder` has no room.
    """
    keras.utils.set_random_seed(options.seed)
    model = build_model(options.backbone, options.weights, options.head, preprocessing.size)
    trunk, head = cut(model)
    parts = deal(groups, tiles.truth)
    others = [keras.models.clone_model(head) for _ in range(parts.max() + 1)]  # all before any has learned
    looks = look(trunk, tiles, preprocessing, recipe, progress)
    stains = np.stack([stain_figures(tile) for tile in tiles.pixels])
    raw = np.empty((len(groups), len(LABELS)))
    beyond = np.empty(len(groups))
    for part, other in enumerate(others):
        progress.say(f"judging part {part + 1} of {len(others)} with a head that has not seen it")
        inside, outside = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        fit(other, looks, tiles.truth, inside, options, recipe, progress, folder and folder / HEADS / f"{part + 1}")
        raw[outside], _ = _answer(other, looks, outside)
        gate = fit_gate(_measured(other, looks, stains, inside), tiles.truth[inside])
        beyond[outside] = gate.distance(_measured(other, looks, stains, outside))
    rows = np.arange(len(groups))
    history = fit(head, looks, tiles.truth, rows, options, recipe, progress, folder and folder / HEADS / "all")
    gate = fit_gate(_measured(head, looks, stains, rows), tiles.truth)
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
    seam = [model.get_layer("figures_flat").output, model.get_layer(POOLED_BY).output,
            model.get_layer("project").input]
    opinions = {name: model.get_layer(name).output for name in OPINIONS}
    return keras.Model(model.inputs, seam), keras.Model(seam, {**opinions, **model.output})


def look(trunk: keras.Model, tiles: Tiles, preprocessing: Preprocessing, recipe: Recipe, progress: Progress) -> Looks:
    """What the trunk makes of every view of every tile, from the cache where it has that."""
    names = tuple(_digest(tile) for tile in tiles.pixels)
    shapes = tuple(tuple(int(n) for n in output.shape[1:]) for output in trunk.outputs)
    values = np.empty((len(names), VIEWS, sum(int(np.prod(shape)) for shape in shapes)), np.float16)
    told = f"{_digest(*trunk.get_weights())}, {preprocessing.model_dump_json()}, {recipe.strength}, {VIEWS}"
    place = f"looks/{settings('trunk', f'{told}, {keras.backend.backend()}', (augmenting, preprocess))}"
    with progress.bar("looking", len(names)) as step:
        for start in range(0, len(names), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(names)))

            def make(i: int, rows: range = rows) -> NDArray[np.float16]:
                return _views(trunk, tiles.pixels[rows[i]], names[rows[i]], preprocessing, recipe)

            values[rows.start:rows.stop] = kept(place, [names[row] for row in rows], make, progress.say)
            for _ in rows:
                step()
    return Looks(values, shapes, names)


def _views(trunk: keras.Model, tile: NDArray[np.uint8], name: str, preprocessing: Preprocessing,
           recipe: Recipe) -> NDArray[np.float16]:
    """[VIEWS, d] of a tile. It always has the same views, whatever else is learned from."""
    views = [tile if view == 0 else augment(tile, np.random.default_rng((int(name, 16), view)), recipe.strength)
             for view in range(VIEWS)]
    seen = trunk.predict_on_batch(scale(np.stack(views), preprocessing))
    return np.concatenate([np.asarray(x, np.float16).reshape(VIEWS, -1) for x in seen], axis=1)


def _digest(*arrays: Any) -> str:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class _Views(keras.utils.PyDataset):
    """Batches of one random view of each row, shuffled; the same seed gives the same ones in the same epoch."""

    def __init__(self, looks: Looks, truth: NDArray[np.int64], rows: NDArray[np.intp], batch: int, seed: int) -> None:
        super().__init__()
        self._looks, self._truth, self._rows, self._batch, self._seed = looks, truth, rows, batch, seed
        self.begin(0)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch)

    def __getitem__(self, index: int) -> tuple[tuple[NDArray[np.float32], ...], dict[str, NDArray[np.float32]]]:
        these = slice(index * self._batch, (index + 1) * self._batch)
        rows = self._order[these]
        truth = np.eye(len(LABELS), dtype=np.float32)[self._truth[rows]]
        return tuple(self._looks(rows, self._views[these])), dict.fromkeys(OPINIONS, truth)

    def begin(self, epoch: int) -> None:
        """Other views in another order. (Keras calls `on_epoch_end` at moments that depend on its backend.)"""
        random = np.random.default_rng((self._seed, epoch))
        self._order = random.permutation(self._rows)
        self._views = random.integers(VIEWS, size=len(self._rows))


def fit(head: keras.Model, looks: Looks, truth: NDArray[np.int64], rows: NDArray[np.intp], options: Options,
        recipe: Recipe, progress: Progress, folder: Path | None = None) -> History:
    """Teach both opinions, each by its own loss, so that neither leaves the work to the other.

    Args:
        head: of its initial weights.
        looks, truth: of all tiles.
        rows: of them that it learns from.
        options, recipe: how.
        progress: who is told that epochs were finished before.
        folder: where finished epochs are kept, and gone on from; None keeps none.

    Raises:
        MemoryExhausted: when a batch does not fit into the device.
        DataError, OutputError: as `teach`.

    Returns:
        The sum of both losses and the first opinion's accuracy on training views, one value per epoch.
    """
    batches = _Views(looks, truth, rows, options.batch, options.seed)
    taught = keras.Model(head.inputs, {name: head.output[name] for name in OPINIONS})
    taught.compile(keras.optimizers.Adam(schedule(recipe, len(batches) * options.epochs), clipnorm=recipe.clip_norm),
                   loss={name: focal_loss(recipe, truth[rows]) for name in OPINIONS},
                   metrics={OPINIONS[0]: ["accuracy"]})
    identity = {**asdict(options), "recipe": asdict(recipe), "Keras backend": keras.backend.backend(),
                "set of images": _digest(truth[rows], *(looks.names[row].encode() for row in rows))}
    checkpoint = Checkpoint(folder, identity, options.epochs) if folder else None
    keep = KeepEpochs(taught, checkpoint, options.epochs, progress)
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
    with naming_the_batch(options.batch):
        taught.fit(batches, initial_epoch=keep.first_epoch, epochs=options.epochs, verbose=0, shuffle=False,
                   callbacks=[begin, keep])
    history = keep.state.history
    return {"loss": history["loss"], "accuracy": history[f"{OPINIONS[0]}_accuracy"]}


def _answer(head: keras.Model, looks: Looks,
            rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities [n, 4] and embeddings [n, d] of the tiles themselves."""
    parts = [head.predict_on_batch(looks(rows[i:i + _AT_ONCE])) for i in range(0, len(rows), _AT_ONCE)]
    return np.concatenate([p["probs"] for p in parts]), np.concatenate([p["embedding"] for p in parts])


def _measured(head: keras.Model, looks: Looks, stains: NDArray[np.float64],
              rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """What `gate_input` makes of rows, with their stains known."""
    return gate_figures(_answer(head, looks, rows)[1], stains[rows])
