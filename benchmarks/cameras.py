"""What the watch over a camera notices, what it takes for a fault by mistake, what it costs, how soon it is back.

    python benchmarks/cameras.py --out docs/results/cameras.md --images taleghani='data/*/*.jpg'

Pictures are held against the checks as the frames of one camera, first as they are, then spoiled. `--skip-watch`
leaves out the part with a clock, which takes four minutes and hardly any computing.
"""

import argparse
import glob
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.device import pixels
from alledge.device.camera import _damage
from alledge.device.camera.emulated import FAULTS
from alledge.device.faults import CameraFault
from alledge.device.watched import open_watched
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.synthetic import draw_field

Pixels = NDArray[np.uint8]
Spoil = Callable[[Pixels, Pixels], Pixels]
FAULT_S = (2, 6)  # the fault is on from the second to the sixth second
LATEST_S = 30.0
SIZES = ((224, 224), (1280, 720), (4056, 3040))


def drawn(count: int, width: int, height: int) -> list[Pixels]:
    """Synthetic fields of a size, every class in turn."""
    top = (max(width, height) - height) // 2
    return [draw_field(LABELS[i % 4], i, max(width, height)).rgb[top:top + height, :width].copy() for i in range(count)]


def of_one_size(pattern: str, limit: int) -> list[Pixels]:
    """Pictures on disk, as many as have the size of the first."""
    paths = sorted(glob.glob(pattern))
    found = [read_image(path) for path in paths[::-(-len(paths) // limit)]]
    return [picture for picture in found if picture.shape == found[0].shape]


def noise(sigma: float) -> Spoil:
    """Gaussian noise of a standard deviation in grey levels."""
    random = np.random.default_rng(1)
    return lambda rgb, before: np.clip(rgb + random.normal(0, sigma, rgb.shape), 0, 255).astype(np.uint8)


def gains(red: float, blue: float) -> Spoil:
    """Red and blue multiplied."""
    return lambda rgb, before: np.clip(rgb * np.array([red, 1, blue]), 0, 255).astype(np.uint8)


def moved(share: float) -> Spoil:
    """The stage moved by a share of the width during read-out: from a random row on, the picture is shifted."""
    random = np.random.default_rng(2)

    def tear(rgb: Pixels, before: Pixels) -> Pixels:
        torn, row = rgb.copy(), int(random.uniform(0.2, 0.8) * rgb.shape[0])
        torn[row:] = np.roll(rgb, round(share * rgb.shape[1]), axis=1)[row:]
        return torn

    return tear


SPOILS: dict[str, Spoil] = {
    "frozen": lambda rgb, before: before,
    **_damage.DAMAGE,
    **{f"torn, stage moved {share:.0%} of the width": moved(share) for share in (0.03, 0.1, 0.3)},
    **{f"noise of {sigma} grey levels": noise(sigma) for sigma in (8, 16, 24)},
    **{f"red x {r}, blue x {b}": gains(r, b) for r, b in ((1.1, 0.9), (0.8, 1.0), (0.7, 1.1))},
}


def sound(pictures: list[Pixels]) -> tuple[list[pixels.Figures], Counter[str]]:
    """Figures of sound pictures, one after another, and the faults seen in them by mistake."""
    seen, found, measured = pixels.Seen(pictures[0].shape[:2]), Counter[str](), []
    for picture in pictures:
        measured.append(pixels.measure(picture))
        fault = pixels.fault_of(measured[-1], seen)
        seen = seen.after(measured[-1], fault is None)
        found[fault or "none"] += 1
    return measured, found


def extremes(measured: list[pixels.Figures]) -> str:
    """The largest figures, as cells of a table; drift from the median colour of them all."""
    colours = np.array([figures.colour for figures in measured])
    drift = np.abs(colours / np.median(colours, axis=0) - 1).max()
    return " | ".join([*(f"{max(getattr(figures, name) for figures in measured):.2f}"
                         for name in ("dark", "bright", "colourless", "lost", "tear")),
                       f"{max(figures.noise for figures in measured):.1f}", f"{drift:.2f}"])


def noticed(pictures: list[Pixels], spoil: Spoil) -> float:
    """Share of spoiled pictures that are not accepted, each after its sound predecessor."""
    history = pixels.Seen(pictures[0].shape[:2])
    for picture in pictures[:5]:
        history = history.after(pixels.measure(picture), True)
    held = 0
    for before, picture in pairwise(pictures):
        seen = history.after(pixels.measure(before), False)
        spoiled = spoil(picture, before)
        held += not pixels.is_picture(spoiled) or pixels.fault_of(pixels.measure(spoiled), seen) is not None
    return held / (len(pictures) - 1)


def cost(width: int, height: int, rounds: int = 60) -> tuple[float, float, float]:
    """Process CPU of `measure` in milliseconds: median, 10th and 90th percentile."""
    picture = cv2.resize(draw_field("pre_b", 1, 512).rgb, (width, height))
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        pixels.measure(picture)
        taken.append((time.process_time() - start) * 1e3)
    return tuple(np.percentile(taken, [50, 10, 90]))


def watch(fault: str) -> tuple[float, float]:
    """Seconds from a fault's beginning to its name, and from its end to the next sound frame."""
    uri = f"emulated://{fault}@{FAULT_S[0]}s-{FAULT_S[1]}s/synthetic://?seed=1&size=224&fields=12"
    start, named = time.monotonic(), 0.0
    with closing(open_watched(uri)) as camera:
        while time.monotonic() - start < LATEST_S:
            time.sleep(0.03)
            try:
                camera.read()
                if time.monotonic() - start > FAULT_S[1]:
                    return named, max(0.0, time.monotonic() - start - FAULT_S[1])
            except CameraFault as error:
                if error.fault.name == f"camera-{fault}":
                    named = named or time.monotonic() - start - FAULT_S[0]
    return named, float("inf")


def report(sets: dict[str, list[Pixels]], watching: bool) -> Iterator[str]:
    """The page, line by line."""
    yield "# The watch over a camera: what it notices and what it costs\n"
    yield (f"Command: `python benchmarks/cameras.py --out docs/results/cameras.md --images ...`, {date.today()},\n"
           f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, OpenCV "
           f"{cv2.__version__}, NumPy {np.__version__}. A desktop-class machine shared with other work,\nnot a board; "
           "no real camera: pictures are taken as the frames of one, and faults are emulated.\n")
    yield "## Sound pictures taken for faulty\n\nNone should be. Limits and largest figures of sound pictures:\n"
    yield ("| pictures | how many | dark | bright | colourless | lost | tear | noise | drift | accepted | taken for |\n"
           f"|{'---|' * 11}")
    yield (f"| limit | | {pixels.SHARE} | {pixels.SHARE} | {pixels.SHARE} | {pixels.CUT} | {pixels.TEAR} | "
           f"{pixels.NOISE:g} | {pixels.DRIFT} | | |")
    for name, pictures in sets.items():
        measured, found = sound(pictures)
        wrong = ", ".join(f"{count} `{fault}`" for fault, count in sorted(found.items()) if fault != "none")
        yield (f"| {name} | {len(pictures)} | {extremes(measured)} | {found['none'] / len(pictures):.1%} | "
               f"{wrong or '-'} |")
    yield "\n## Spoiled pictures held back\n\nAll should be; the lower rows ask how little is noticed.\n"
    yield f"| fault | {' | '.join(sets)} |\n|---|{'---|' * len(sets)}"
    for spoil in SPOILS:
        yield f"| {spoil} | {' | '.join(f'{noticed(pictures, SPOILS[spoil]):.1%}' for pictures in sets.values())} |"
    yield "\n## Cost of the checks\n\nProcess CPU per frame, 60 rounds.\n"
    yield "| frame | median ms | p10-p90 |\n|---|---|---|"
    for width, height in SIZES:
        middle, low, high = cost(width, height)
        yield f"| {width}x{height} | {middle:.2f} | {low:.2f}-{high:.2f} |"
    if watching:
        yield (f"\n## Named and back\n\nEach fault emulated for {FAULT_S[1] - FAULT_S[0]} s, once, in real time, with "
               "the waits that ship.\n\n| fault | named after s | back after s |\n|---|---|---|")
        for fault in FAULTS:
            named, back = watch(fault)
            yield f"| `camera-{fault}` | {named:.1f} | {back:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="page to write; else it is printed")
    parser.add_argument("--images", nargs="*", default=[], metavar="NAME=GLOB", help="pictures of one size, from disk")
    parser.add_argument("--limit", type=int, default=200, help="take at most so many of each, evenly spaced")
    parser.add_argument("--skip-watch", action="store_true")
    options = parser.parse_args()
    sets = {"drawn 224x224": drawn(120, 224, 224), "drawn 1280x720": drawn(24, 1280, 720)}
    for argument in options.images:
        name, _, pattern = argument.partition("=")
        sets[name] = of_one_size(pattern, options.limit)
    lines = []
    for line in report(sets, not options.skip_watch):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
