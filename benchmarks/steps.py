"""Where does the time of one segmentation go? Each step beside a bare conversion to LAB; writes a page.

    python benchmarks/steps.py [--rounds 15] [--out docs/results/steps.md]

The frames of `segmentation.py`; one thread on one core, processor time, the steps in turns and each so often in a row
that it is warm. Steps hold what they are made of, so they do not add up to the whole.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from fields import frames
from numpy.typing import NDArray
from pages import head, significant, table, times
from turns import Step, one_core, over, pooled, take_turns

from alledge.glass import cumulative
from alledge.kmeans1d import cluster_histogram
from alledge.morphology import fill_holes, open_close
from alledge.planes import split
from alledge.segmentation import (
    PAPER_CLUSTERS,
    STAIN_CLUSTERS,
    balanced_saturation,
    count_levels,
    lab_a,
    saturation,
    segment,
)

Pixels = NDArray[np.uint8]
SIZES = ("224x224", "4056x3040")
BARE = "bare RGB to LAB"
BY_HAND = "## What stands in the way (by hand)"  # what follows it on the page is left there
LEAST_S = 0.02
_SAME = np.arange(256, dtype=np.uint8)
MASK: dict[str, tuple[Callable[[Pixels], Pixels], int]] = {
    "stain": (balanced_saturation, STAIN_CLUSTERS), "paper": (lab_a, PAPER_CLUSTERS)}


def steps(rgb: Pixels) -> dict[str, Step]:
    """The whole, and what it is made of."""
    planes, found = split(rgb), dict[str, Step]({BARE: partial(cv2.cvtColor, rgb, cv2.COLOR_RGB2LAB)})
    for mode, (channel, clusters) in MASK.items():
        seen = channel(rgb)
        counts = count_levels(seen)
        cut = segment(rgb, mode).cut
        found |= {f"**`{mode}`, all of it**": partial(segment, rgb, mode),
                  f"{mode}: its channel": partial(channel, rgb),
                  f"{mode}: its histogram": partial(count_levels, seen),
                  f"{mode}: {clusters} clusters": partial(cluster_histogram, counts, clusters),
                  f"{mode}: fill holes": partial(fill_holes, seen, cut),
                  f"{mode}: open, close": partial(open_close, fill_holes(seen, cut))}
    return found | {"any: planes": partial(split, rgb), "stain: histogram of green": partial(cumulative, planes[1]),
                    "stain: a line per plane": lambda: [cv2.convertScaleAbs(plane, alpha=1.1) for plane in planes],
                    "stain: a table per plane instead": lambda: [cv2.LUT(plane, _SAME) for plane in planes],
                    "stain: saturation of planes": partial(saturation, *planes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("docs/results/steps.md"))
    given = parser.parse_args()
    one_core()
    taken = {size: pooled(take_turns(steps(rgb), given.rounds, LEAST_S) for rgb in frames(size)) for size in SIZES}
    rows = [(name, *(cell for size in SIZES for cell in (significant(float(np.median(taken[size][name].cpu))),
                                                        times(over(taken[size][name], taken[size][BARE])))))
            for name in taken[SIZES[0]]]
    columns = ("step", *(cell for size in SIZES for cell in (f"{size}, ms", "of a bare conversion")))
    by_hand = given.out.read_text("utf-8").partition(BY_HAND) if given.out.exists() else ("", "", "")
    page = f"""{head("The steps of a segmentation", f"OpenCV {cv2.__version__}")}
Median of {given.rounds} rounds a frame; a ratio with its lowest and highest tenth.

{table(columns, rows)}
"""
    given.out.write_text(page + "".join(("\n", *by_hand[1:]) if by_hand[1] else ()), "utf-8")


if __name__ == "__main__":
    main()
