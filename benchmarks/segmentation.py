"""What does segmentation cost beside peers, beside a bare conversion, and how good is it? docs/results/segmentation.md.

    python benchmarks/segmentation.py [--masks FOLDER] [--sizes 224x224 640x480 ...] [--rounds 7] [--out FILE]

One thread on one core, the ways in turns on the same frames. The paper's way is k-means by scikit-learn on every pixel
and SciPy's morphology (arXiv 2508.17216, 6.1.2-6.1.7); `cuts.py` has what replaces the k-means in it. FOLDER holds
NAME_image.* and NAME_nucleus.png in one sub-folder per collection; without it only drawn fields are judged.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import skimage
import sklearn
from cuts import OURS, PEERS, SEED, agreement_table, dice, multi_otsu, otsu_line, ours
from fields import DRAWN, MANY, MANY_UP_TO, frames, pixels
from numpy.typing import NDArray
from pages import TARGETS, head, spread, table, target, times
from scipy import __version__ as scipy_version
from scipy import ndimage
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from turns import Taken, one_core, over, pooled, rounds_of, take_turns

from alledge.images import read_image
from alledge.labels import LABELS
from alledge.segmentation import PAPER_CLUSTERS, STAIN_CLUSTERS, balanced_saturation, lab_a, segment
from alledge.synthetic import draw_field

Pixels = NDArray[np.uint8]
Measured = dict[str, dict[str, Taken]]  # frame's size -> way -> times
SIZES = ("224x224", "640x480", "1920x1080", "4056x3040")
LEAST_S, BUDGET_S = 0.02, 1.5  # processor time of a measurement; what a way may use of each frame
YELLOW = np.array([1.0, 0.93, 0.62])  # per-channel gain; a cast as strong as the paper's failing example
PAPERS, PAPER, STAIN = "paper's way (scikit-learn, SciPy)", "alledge, `paper`", "alledge, `stain`"
LAB, COPY = "bare RGB to LAB", "bare copy"
# Times a bare conversion that a mode may cost, by frame; times cheaper than the paper's way.
MOST = {("224x224", STAIN): 2.0, ("224x224", PAPER): 2.2, ("4056x3040", STAIN): 1.5, ("4056x3040", PAPER): 1.5}
CHEAPER = 30


def papers_way(rgb: Pixels) -> Pixels:
    """Steps 6.1.2-6.1.6 as the paper writes them."""
    a = lab_a(rgb)
    means = KMeans(PAPER_CLUSTERS, random_state=SEED).fit(a.reshape(-1, 1))
    rebuilt = means.cluster_centers_[means.labels_].reshape(a.shape).astype(np.uint8)
    _, binary = cv2.threshold(rebuilt, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    closed = ndimage.binary_closing(ndimage.binary_opening(ndimage.binary_fill_holes(binary)))
    return closed.astype(np.uint8) * 255


WAYS: dict[str, Callable[[Pixels], object]] = {
    PAPERS: papers_way, PAPER: lambda rgb: segment(rgb, "paper"), STAIN: lambda rgb: segment(rgb, "stain"),
    LAB: lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), COPY: lambda rgb: rgb.copy()}


def measure(size: str, rounds: int, ways: dict[str, Callable[[Pixels], object]],
            channel: Callable[[Pixels], Pixels] = lambda rgb: rgb, least_s: float = LEAST_S) -> dict[str, Taken]:
    """All ways on the same frames, or channels of them."""
    return pooled(take_turns({name: partial(way, one) for name, way in ways.items()}, rounds, least_s, BUDGET_S)
                  for one in map(channel, frames(size)))


def cut_ways() -> tuple[dict[str, Callable[[Pixels], object]], dict[str, Callable[[Pixels], object]]]:
    """Finding the paper's seven clusters of a*, and the three of the saturation, of channels."""
    seven = {name: partial(way, k=PAPER_CLUSTERS) for name, way in ({OURS: ours} | PEERS).items()}
    three = {OURS: partial(ours, k=STAIN_CLUSTERS), "skimage multi-Otsu": partial(multi_otsu, k=STAIN_CLUSTERS)}
    return seven, three


def mask_table(measured: Measured) -> str:
    columns = ("frame", "way", "of a bare conversion", "the paper's way takes", "CPU ms", "wall ms", "rounds")
    return table(columns, ((size, way, times(over(t, taken[LAB])), times(over(taken[PAPERS], t)), spread(t.cpu),
                            spread(t.wall), rounds_of(t)) for size, taken in measured.items()
                           for way, t in taken.items()))


def cut_table(measured: Measured) -> str:
    columns = ("frame", "way", "of ours", "CPU ms", "wall ms", "rounds")
    return table(columns, ((size, way, times(over(t, taken[OURS])), spread(t.cpu), spread(t.wall), rounds_of(t))
                           for size, taken in measured.items() for way, t in taken.items()))


def collections(masks: Path | None, count: int) -> dict[str, list[tuple[Pixels, Pixels]]]:
    """Name -> (image, true nuclei) pairs."""
    fields = [draw_field(LABELS[i % 4], 5000 + i) for i in range(count)]
    found = {"synthetic": [(field.rgb, field.nuclei) for field in fields]}
    for folder in sorted(masks.iterdir()) if masks else ():
        if folder.is_dir():
            found[folder.name] = [(read_image(next(folder.glob(truth.name.replace("_nucleus.png", "_image.*")))),
                                   cv2.imread(str(truth), cv2.IMREAD_GRAYSCALE))
                                  for truth in sorted(folder.glob("*_nucleus.png"))]
    return found


def quality_table(pairs: dict[str, list[tuple[Pixels, Pixels]]]) -> str:
    """Mean Dice with the standard error over images."""
    ways = {PAPERS: papers_way, PAPER: lambda rgb: segment(rgb, "paper").pixels,
            STAIN: lambda rgb: segment(rgb, "stain").pixels}
    rows = []
    for name, images in pairs.items():
        for way, find in ways.items():
            for cast in ("", " + cast"):
                seen = [np.clip(rgb * YELLOW, 0, 255).astype(np.uint8) if cast else rgb for rgb, _ in images]
                values = [dice(find(rgb), truth) for rgb, (_, truth) in zip(seen, images, strict=True)]
                error = np.std(values, ddof=1) / len(values) ** 0.5
                rows.append((name, len(values), way + cast, f"{np.mean(values):.3f}", f"{error:.3f}",
                             f"{min(values):.2f}"))
    return table(("collection", "images", "way", "mean Dice", "standard error", "worst"), rows)


def target_rows(measured: Measured, cold: Measured) -> list[tuple[str, ...]]:
    rows = []
    for (size, way), most in MOST.items():
        if size in measured:
            ratios = over(measured[size][way], measured[size][LAB])
            rows.append(target(f"{way} at {size}, of a bare conversion", f"{most}x or less", times(ratios),
                               float(np.median(ratios)) <= most))
    for caches, found in (("warm", measured), ("cold", cold)):
        if "224x224" in found:
            ratios = over(found["224x224"][PAPERS], found["224x224"][PAPER])
            rows.append(target(f"the paper's way, of {PAPER} at 224x224, {caches} caches", f"{CHEAPER}x or more",
                               times(ratios), float(np.median(ratios)) >= CHEAPER))
    return rows


def report(given: argparse.Namespace) -> str:
    """The whole page."""
    seven, three = cut_ways()
    small = [size for size in given.sizes if pixels(size) <= MANY_UP_TO]
    masked = {size: measure(size, given.rounds, WAYS) for size in given.sizes}
    cold = {size: measure(size, 4 * given.rounds, WAYS, least_s=0.0) for size in small}
    sevens = {size: measure(size, given.rounds, seven, lab_a) for size in given.sizes}
    threes = {size: measure(size, given.rounds, three, balanced_saturation) for size in given.sizes}
    pairs = collections(given.masks, given.fields)
    fields = [rgb for rgb, _ in pairs["synthetic"]]
    absent = "" if given.masks else ("\nHand-made masks are not measured here: no folder of them was given "
                                     "(`--masks FOLDER`).\n")
    return f"""{head("Segmentation: cost and quality", versions())}
One thread on one core; {MANY} drawn fields up to 640x480, one beyond (drawn at {DRAWN} and enlarged); {given.rounds}
rounds, in which the ways take turns. Median, in brackets the lowest and the highest tenth. Ratios are of processor
time, round by round. What takes longer than {BUDGET_S} s a frame has fewer rounds, and where that is one, no spread.

## Targets

{table(TARGETS, target_rows(masked, cold))}

## The whole mask

{mask_table(masked)}

The same with cold caches: each way runs once a turn and starts with what the others left behind, as after an inference.

{mask_table(cold)}

## Finding the cut

Of seven clusters, as the paper wants them, given the a* channel. The peers cluster every pixel, but for one that is
told our histogram.

{cut_table(sevens)}

Of three clusters, given the balanced saturation: multi-Otsu tries all thresholds, of which there are 4e11 with seven
classes; that was not tried.

{cut_table(threes)}

## Agreement

The paper's cut (Otsu's threshold of seven levels) on {len(fields)} drawn fields of 224x224, from each way's clusters,
against that from the optimal ones. An inertia of 1 is the optimum; a peer above it stopped before.

{agreement_table(fields)}

{otsu_line(fields)}

## Quality

Dice against true nuclei (drawn) and hand-made masks. "+ cast": red, green and blue times {YELLOW.tolist()}.
{absent}
{quality_table(pairs)}
"""


def versions() -> str:
    return (f"OpenCV {cv2.__version__}, NumPy {np.__version__}, scikit-learn {sklearn.__version__}, "
            f"SciPy {scipy_version}, scikit-image {skimage.__version__}, kmeans1d {version('kmeans1d')}")


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=Path, help="folder of images with hand-made nucleus masks")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fields", type=int, default=60, help="drawn fields for agreement and quality")
    parser.add_argument("--out", type=Path, default=Path("docs/results/segmentation.md"))
    given = parser.parse_args()
    if given.masks and not given.masks.is_dir():
        print(f"{given.masks}: there are no hand-made masks here; only drawn fields are judged", file=sys.stderr)
        given.masks = None
    one_core()
    with threadpool_limits(1):
        page = report(given)
    given.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
