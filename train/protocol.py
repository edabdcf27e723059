"""How the rows of a split become tiles to learn from, and how a network is taught on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alledge.dataset import Item
from alledge.output import Progress
from alledge.preprocess import Preprocessing
from alledge.runfolder import Tiles

from .batches import read_tiles
from .options import Options
from .recipe import Recipe, recipe_for

Rows = Mapping[str, Sequence[Item]]


def read_subsets(items: Rows, preprocessing: Preprocessing, progress: Progress) -> dict[str, Tiles]:
    """Each row's own tile."""
    with progress.bar("reading images", sum(map(len, items.values()))) as step:
        return {name: read_tiles(rows, preprocessing, step, progress.say) for name, rows in items.items()}


@dataclass(frozen=True)
class Protocol:
    """One way to train and judge.

    Attributes:
        name: goes into the run's record.
        read: (train, val and test rows, preprocessing, progress) -> their tiles. It may leave out, mask or multiply
            training and validation rows; test tiles stand in the order of their rows.
        recipe: how to teach.
        size: side of the tiles in pixels; None is the backbone's own.
    """

    name: str = "split"
    read: Callable[[Rows, Preprocessing, Progress], dict[str, Tiles]] = read_subsets
    recipe: Callable[[Options], Recipe] = recipe_for
    size: int | None = None


SPLIT = Protocol()
