"""Where does the time of one segmentation go? Each step beside a bare conversion to LAB; writes a page.

    python benchmarks/steps.py [--rounds 15] [--out docs/results/steps.md]

A drawn field of 224x224, and the same enlarged to 4056x3040; one thread on one core, processor time, the steps in turns
and each so often in a row that it is warm. Steps hold what they are made of, so they do not add up to the whole.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pages import head, significant, table, times
from turns import Step, one_core, over, take_turns

from alledge.glass import cumulative
from alledge.kmeans1d import cluster_histogram
from alledge.morphology import fill_holes, open_close
from alledge.segmentation import PAPER_CLUSTERS, STAIN_CLUSTERS, balanced_saturation, lab_a, saturation, segment
from alledge.synthetic import draw_field

Pixels = NDArray[np.uint8]
SIZES, DRAWN = ("224x224", "4056x3040"), 1014
BARE = "bare RGB to LAB"
BY_HAND = "## What stands in the way (by hand)"  # what follows it on the page is left there
LEAST_S = 0.02
_SAME = np.arange(256, dtype=np.uint8)
MASK: dict[str, tuple[Callable[[Pixels], Pixels], int]] = {
    "stain": (balanced_saturation, STAIN_CLUSTERS), "paper": (lab_a, PAPER_CLUSTERS)}


def picture(size: str) -> Pixels:
    """A drawn field WIDTHxHEIGHT RGB."""
    width, height = map(int, size.split("x"))
    drawn = draw_field("pre_b", 1, width if width <= DRAWN else DRAWN).rgb
    return drawn if width <= DRAWN else np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC))


def steps(rgb: Pixels) -> dict[str, Step]:
    """The whole, and what it is made of."""
    planes, found = cv2.split(rgb), dict[str, Step]({BARE: partial(cv2.cvtColor, rgb, cv2.COLOR_RGB2LAB)})
    for mode, (channel, clusters) in MASK.items():
        seen = channel(rgb)
        counts = cv2.calcHist([seen], [0], None, [256], [0, 256]).ravel()
        binary = np.asarray(cv2.compare(seen, segment(rgb, mode).cut, cv2.CMP_GE), np.uint8)
        found |= {f"**`{mode}`, all of it**": partial(segment, rgb, mode),
                  f"{mode}: its channel": partial(channel, rgb),
                  f"{mode}: {clusters} clusters": partial(cluster_histogram, counts, clusters),
                  f"{mode}: fill holes": partial(fill_holes, binary),
                  f"{mode}: open, close": partial(open_close, fill_holes(binary))}
    return found | {"any: planes": partial(cv2.split, rgb), "any: a histogram": partial(cumulative, planes[1]),
                    "stain: a table per plane": lambda: [cv2.LUT(plane, _SAME) for plane in planes],
                    "stain: saturation of planes": partial(saturation, *planes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("docs/results/steps.md"))
    given = parser.parse_args()
    one_core()
    taken = {size: take_turns(steps(picture(size)), given.rounds, LEAST_S) for size in SIZES}
    rows = [(name, *(cell for size in SIZES for cell in (significant(float(np.median(taken[size][name].cpu))),
                                                        times(over(taken[size][name], taken[size][BARE])))))
            for name in taken[SIZES[0]]]
    columns = ("step", *(cell for size in SIZES for cell in (f"{size}, ms", "of a bare conversion")))
    by_hand = given.out.read_text("utf-8").partition(BY_HAND) if given.out.exists() else ("", "", "")
    page = (f"{head('The steps of a segmentation', f'OpenCV {cv2.__version__}')}\nMedian of {given.rounds} rounds; a "
            f"ratio with its lowest and highest tenth.\n\n{table(columns, rows)}\n")
    given.out.write_text(page + "".join(("\n", *by_hand[1:]) if by_hand[1] else ()), "utf-8")


if __name__ == "__main__":
    main()
