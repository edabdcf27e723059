"""Dropout, weight decay and augmentation, chosen on stain families that are neither learned from nor tested on.

    python benchmarks/regularisation.py WORK --data DIR --split CSV --weights W

Nested: for each stain family as the test, the setting is chosen by leaving out one more family at a time, over three
seeds, and only then is the chosen one judged on the test family. A head that two families are kept from validates for
both. Finished heads are kept in WORK, so the command can be run again. Writes docs/results/regularisation.md.
"""

import argparse
import datetime
import os
import platform
import sys
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Dataset, read_dataset
from alledge.metrics import score
from alledge.output import Progress
from alledge.runfolder import Tiles
from alledge.train import frozen
from alledge.train.backbones import find, preprocessing_for
from alledge.train.batches import read_tiles
from alledge.train.heads import WEIGHT_DECAY
from alledge.train.model import build_model
from alledge.train.options import HEAD_BATCH, HEAD_EPOCHS, Options
from alledge.train.recipe import recipe_for

BACKBONE, HEAD = "mobilenetv2", "nuclei"
SHIPPED = "as shipped"


@dataclass(frozen=True)
class Setting:
    """Attributes: dropout, share left out; decay, L2 of the dense layers that have it; strength of augmentation."""

    dropout: float = find(BACKBONE).dropout
    decay: float = WEIGHT_DECAY
    strength: float = 1.0


SETTINGS = {SHIPPED: Setting(), "no dropout": Setting(dropout=0.0), "dropout 0.5": Setting(dropout=0.5),
            "weight decay 1e-3": Setting(decay=1e-3), "not augmented": Setting(strength=0.0)}


class Study:
    """Heads of any setting, taught without some families, and what they make of the others."""

    def __init__(self, dataset: Dataset, tiles: Tiles, options: Options, work: Path) -> None:
        self.truth, self._options, self._work = tiles.truth, options, work
        self.family = np.array([item.columns["family"] for item in dataset.items])
        self._progress = Progress(sys.stderr)
        preprocessing = preprocessing_for(BACKBONE, options.segment, nuclei=True)
        trunk, self._head = frozen.cut(build_model(BACKBONE, options.weights, HEAD))
        self._looks = {strength: frozen.look(trunk, tiles, preprocessing, self._recipe(strength), self._progress)
                       for strength in sorted({setting.strength for setting in SETTINGS.values()})}

    def _recipe(self, strength: float) -> Any:
        return replace(recipe_for(self._options), strength=strength)

    def answers(self, name: str, without: tuple[str, ...], seed: int) -> NDArray[np.float32]:
        """[n, 4] probabilities of all rows in `without`, zeros elsewhere, by a head that learned from the others."""
        path = self._work / f"{name} {'-'.join(without)} {seed}.npy".replace(" ", "_")
        if not path.exists():
            setting = SETTINGS[name]
            looks, out = self._looks[setting.strength], np.isin(self.family, without)
            keras.utils.set_random_seed(seed)
            head = keras.models.clone_model(self._head, clone_function=partial(regularised, setting=setting))
            frozen.fit(head, looks, self.truth, np.flatnonzero(~out), replace(self._options, seed=seed),
                       self._recipe(setting.strength), self._progress)
            found = np.zeros((len(out), 4), np.float32)
            found[out] = head.predict(looks(np.flatnonzero(out)), verbose=0)["probs"]
            np.save(path, found)
            print(path.stem, flush=True)
        return np.asarray(np.load(path))

    def right(self, name: str, without: tuple[str, ...], judged: str, seed: int) -> NDArray[np.bool_]:
        """Of the rows of one family, whether they are called rightly."""
        rows = self.family == judged
        return np.asarray(self.answers(name, without, seed)[rows].argmax(1) == self.truth[rows])

    def validated(self, name: str, test: str, seeds: int) -> NDArray[np.float64]:
        """[seeds] accuracy over all families but the test one, each by heads that have seen neither."""
        others = [family for family in self.families if family != test]
        return np.array([np.concatenate([self.right(name, tuple(sorted((test, other))), other, seed)
                                         for other in others]).mean() for seed in range(seeds)])

    @property
    def families(self) -> list[str]:
        """Their names."""
        return sorted(set(self.family))


def regularised(layer: Any, setting: Setting) -> Any:
    """A copy of a layer under another setting."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.Dropout):
        config["rate"] = setting.dropout
    if config.get("kernel_regularizer"):
        config["kernel_regularizer"] = keras.regularizers.L2(setting.decay)
    return layer.__class__.from_config(config)


def page(study: Study, dataset: Dataset, seeds: int) -> str:
    validated = {name: np.array([study.validated(name, test, seeds) for test in study.families]) for name in SETTINGS}
    rows = [f"| {name} | **{found.mean():.1%}** | {', '.join(f'{a:.1%}' for a in found.mean(0))} "
            f"| {', '.join(f'{a:.1%}' for a in found.mean(1))} |" for name, found in validated.items()]
    chosen = [max(SETTINGS, key=lambda name, i=i: validated[name][i].mean()) for i in range(len(study.families))]
    tested = [f"| chosen by validation | {tell(study, dataset, chosen, seeds)} |",
              f"| {SHIPPED} | {tell(study, dataset, [SHIPPED] * len(chosen), seeds)} |"]
    told = ", ".join(f"family {family}: {name}" for family, name in zip(study.families, chosen, strict=True))
    return PAGE.format(date=datetime.date.today(), machine=platform.machine(), cores=os.cpu_count(), seeds=seeds,
                       epochs=HEAD_EPOCHS, fields=len(dataset.items), rows="\n".join(rows), chosen=told,
                       tested="\n".join(tested), shipped=SETTINGS[SHIPPED])


def tell(study: Study, dataset: Dataset, chosen: list[str], seeds: int) -> str:
    """Mean accuracy of test families under one setting each, per seed, with the widest interval of the seeds."""
    scores = []
    for seed in range(seeds):
        found = sum(study.answers(name, (family,), seed) for name, family in zip(chosen, study.families, strict=True))
        scores.append(score(np.asarray(found, np.float64), study.truth, groups=[i.group for i in dataset.items]))
    low, high = np.array([s.accuracy_group_ci95 or s.accuracy_ci95 for s in scores]).T
    accuracy = [s.accuracy for s in scores]
    benign = np.mean([s.per_class["benign"].recall or 0.0 for s in scores])
    return (f"**{np.mean(accuracy):.1%}** | {low.min():.1%} to {high.max():.1%} | "
            f"{', '.join(f'{a:.1%}' for a in accuracy)} | {benign:.1%}")


PAGE = """# Regularisation, chosen by validation

Command: see the head of `benchmarks/regularisation.py`. {date}, {machine}, {cores} cores, no GPU. {fields} listed
Taleghani fields, heads on the frozen trunk, {epochs} epochs, {seeds} seeds. Shipped: dropout {shipped.dropout}, weight
decay {shipped.decay}, augmented; a row changes one of them.

## Validation

Accuracy on families that are neither learned from nor tested on: mean over the test families, per seed, and per test
family (of the heads that had to do without it).

| setting | accuracy, mean | per seed | per test family |
|---|---|---|---|
{rows}

Best by validation: {chosen}.

## Test

The setting chosen for each family, by heads that learned from all other families; beside it what ships. Intervals:
bootstrapped over groups, from the lowest to the highest end of any seed's. Colour histogram and random split:
[taleghani.md](taleghani.md).

| setting | accuracy, mean | 95 % | per seed | benign recall, mean |
|---|---|---|---|---|
{tested}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    for name in ("--data", "--split", "--weights"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/regularisation.md"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(given.data, given.split)
    options = Options(BACKBONE, HEAD, weights=str(given.weights), segment="none", epochs=HEAD_EPOCHS, batch=HEAD_BATCH)
    tiles = read_tiles(dataset.items, preprocessing_for(BACKBONE, options.segment, nuclei=True))
    study = Study(dataset, tiles, options, given.work)
    for seed in range(given.seeds):  # a first table after a third of the time
        for name in SETTINGS:
            for pair in combinations(study.families, 2):
                study.answers(name, pair, seed)
    given.out.write_text(page(study, dataset, given.seeds), "utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
