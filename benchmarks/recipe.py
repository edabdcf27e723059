"""What the reference recipe's choices are worth: augmentation, segmentation and the two opinions, over three seeds.

    python benchmarks/recipe.py --data DIR --split CSV --weights W

Heads on the frozen trunk, leaving stain families out, everything as in `alledge train` but the one thing a row names.
The opinions are read off the same heads. Choices were made on these folds, so what they show of the chosen one is a
little too good; an honest figure would need a third data set. Writes docs/results/recipe.md.
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from alledge.dataset import Dataset, read_dataset
from alledge.metrics import score
from alledge.output import Progress
from alledge.train import frozen
from alledge.train.backbones import preprocessing_for
from alledge.train.batches import read_tiles
from alledge.train.heads import ATTENTION_VOICE, OPINIONS
from alledge.train.model import build_model
from alledge.train.options import HEAD_BATCH, HEAD_EPOCHS, Options
from alledge.train.recipe import Recipe, recipe_for

Answers = dict[str, NDArray[np.float64]]


def variants(weights: Path) -> Iterator[tuple[str, Options, float]]:
    """(name, options, strength of augmentation)."""
    for segment, strength in (("none", 1.0), ("none", 0.0), ("stain", 1.0), ("paper", 1.0)):
        told = {"none": "whole field seen"}.get(segment, f"black outside nuclei (`{segment}`)")
        yield (f"{told}, {'augmented' if strength else 'not augmented'}",
               Options("mobilenetv2", "nuclei", weights=str(weights), segment=segment, epochs=HEAD_EPOCHS,
                       batch=HEAD_BATCH), strength)


def answers(dataset: Dataset, options: Options, strength: float, seeds: int) -> Iterator[Answers]:
    """Per seed, opinion -> probabilities [n, 4] of each field by a head that has not seen its stain family."""
    preprocessing = preprocessing_for(options.backbone, options.segment, nuclei=True)
    progress = Progress(sys.stderr)
    tiles = read_tiles(dataset.items, preprocessing)
    base = recipe_for(options)
    recipe = Recipe(base.learning_rate, gamma=base.gamma, strength=strength)
    family = np.array([i.columns["family"] for i in dataset.items])
    model = build_model(options.backbone, options.weights, options.head)
    trunk, head = frozen.cut(model)
    looks = frozen.look(trunk, tiles, preprocessing, recipe, progress)
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        found: Answers = {name: np.zeros((len(family), 4)) for name in (*OPINIONS, "probs")}
        for name in np.unique(family):
            other = keras.models.clone_model(head)
            rows = np.flatnonzero(family == name)
            frozen.fit(other, looks, tiles.truth, np.flatnonzero(family != name),
                       Options(**{**vars(options), "seed": seed}), recipe, progress)
            said = other.predict(looks(rows), verbose=0)
            for opinion, kept in found.items():
                kept[rows] = said[opinion]
        yield found


def line(what: str, opinion: str, found: list[NDArray[np.float64]], dataset: Dataset) -> str:
    """A row: each seed's accuracy and benign recall, the mean, and the widest interval of the seeds."""
    truth = np.array([i.index for i in dataset.items])
    scores = [score(p, truth, groups=[i.group for i in dataset.items]) for p in found]
    low, high = np.array([s.accuracy_group_ci95 or s.accuracy_ci95 for s in scores]).T
    accuracy = [s.accuracy for s in scores]
    benign = [s.per_class["benign"].recall or 0.0 for s in scores]
    return (f"| {what} | {opinion} | **{np.mean(accuracy):.1%}** | {low.min():.1%} to {high.max():.1%} "
            f"| {', '.join(f'{a:.1%}' for a in accuracy)} "
            f"| {np.mean(benign):.1%} | {', '.join(f'{b:.1%}' for b in benign)} |")


def page(rows: list[str], fields: int, seeds: int) -> str:
    return f"""# The recipe, choice by choice

Command: see the head of `benchmarks/recipe.py`. {datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores,
no GPU. {fields} listed Taleghani fields, stain families left out, {seeds} seeds ({HEAD_EPOCHS} epochs of the head).
The choices were made on these folds, so the chosen row is a little too good. Intervals: bootstrapped over groups, from
the lowest to the highest end of any seed's. Colour histogram and random split: [taleghani.md](taleghani.md).

| the network sees | opinion | accuracy, mean | 95 % | per seed | benign recall, mean | per seed |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

"Nuclei" and "attention" are the two opinions of the same heads, "both" is what ships ({1 - ATTENTION_VOICE:.1f} to
{ATTENTION_VOICE:.1f}).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--split", "--weights"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/recipe.md"))
    given = parser.parse_args()
    dataset = read_dataset(given.data, given.split)
    rows = []
    for what, options, strength in variants(given.weights):
        found = list(answers(dataset, options, strength, given.seeds))
        for opinion, told in zip((*OPINIONS, "probs"), ("nuclei", "attention", "both"), strict=True):
            rows.append(line(what, told, [f[opinion] for f in found], dataset))
            print(rows[-1], flush=True)
        given.out.write_text(page(rows, len(dataset.items), given.seeds), "utf-8")


if __name__ == "__main__":
    main()
