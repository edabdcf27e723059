"""From what a camera or a disk holds to the model's input: what does each road cost, and what does it lose?

    python benchmarks/capture.py [--sizes 640x480 1920x1080 4056x3040] [--rounds 7] [--out docs/results/capture.md]

A drawn field with a sensor's noise, as a JPEG of quality 90 (what cameras and phones write) and as raw pixels. One
thread on one core, the ways in turns. The middle square of every picture becomes 224x224; a road is held against
decoding all of it and averaging areas, in decibels (PSNR).
"""

import argparse
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray
from pages import TARGETS, head, spread, table, target, times
from PIL import Image
from turns import Step, Taken, one_core, over, take_turns

from alledge.images import HALVED_FROM, decode_image, encode_png
from alledge.labels import LABELS
from alledge.preprocess import resize
from alledge.synthetic import draw_field

Pixels = NDArray[np.uint8]
SIZES = ("640x480", "1280x720", "1920x1080", "4056x3040")
TILE, QUALITY, NOISE = 224, 90, 3.0  # levels of a sensor's noise, standard deviation
LEAST_S, BUDGET_S = 0.02, 2.0
MOST_MS, LEAST_DB, LARGEST = 25.0, 45.0, "4056x3040"
SHIPPED, WHOLE = "alledge: file's bytes to tile", "alledge: the same, decoded whole"
QUALITIES, TILES = (75, 90, 95), (224, 448, 1024)
REDUCED = {n: getattr(cv2, f"IMREAD_REDUCED_COLOR_{n}") for n in (2, 4, 8)}


def picture(size: str) -> Pixels:
    """A field of WIDTHxHEIGHT RGB with noise: enlarged smooth pictures would be small and quick to decode."""
    width, height = map(int, size.split("x"))
    field = cv2.resize(draw_field("pre_b", 1, 640).rgb, (width, width), interpolation=cv2.INTER_CUBIC)[:height]
    noise = np.random.default_rng(0).normal(0.0, NOISE, field.shape).astype(np.float32)
    return np.clip(field + noise, 0, 255).astype(np.uint8)


def detailed(size: str) -> Pixels:
    """Drawn fields side by side, WIDTHxHEIGHT RGB: detail down to the pixel, where `picture` has little but noise."""
    width, height = map(int, size.split("x"))
    fields = [draw_field(LABELS[i % 4], i, TILE).rgb for i in range(40)]
    rows = [np.concatenate([fields[(7 * row + column) % 40] for column in range(-(-width // TILE))], 1)
            for row in range(-(-height // TILE))]
    return np.ascontiguousarray(np.concatenate(rows)[:height, :width])


def square(bgr: Pixels) -> Pixels:
    height, width = bgr.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return bgr[top:top + side, left:left + side]


def decoded(data: Pixels, flags: int, interpolation: int) -> Pixels:
    """OpenCV alone: decode, cut the square, make it small, turn it to RGB."""
    small = cv2.resize(square(cv2.imdecode(data, flags)), (TILE, TILE), interpolation=interpolation)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def drafted(data: bytes) -> Pixels:
    """Pillow, which picks the reduction itself (`draft`)."""
    with Image.open(BytesIO(data)) as image:
        image.draft("RGB", (TILE, TILE))
        return np.asarray(cv2.resize(square(np.asarray(image)), (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)


def roads(rgb: Pixels) -> dict[str, Callable[[], Pixels]]:
    """Name -> picture of 224x224, from the bytes of a JPEG or PNG or from raw pixels."""
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    file, png = jpeg.tobytes(), encode_png(rgb)
    small = [n for n in REDUCED if min(rgb.shape[:2]) // n >= TILE]
    return {
        SHIPPED: lambda: resize(decode_image(file, "a.jpg", halve=True), TILE),
        **({WHOLE: lambda: resize(decode_image(file, "a.jpg"), TILE)} if min(rgb.shape[:2]) >= HALVED_FROM else {}),
        "OpenCV: whole, areas": partial(decoded, jpeg, cv2.IMREAD_COLOR, cv2.INTER_AREA),
        "OpenCV: whole, bilinear (aliases)": partial(decoded, jpeg, cv2.IMREAD_COLOR, cv2.INTER_LINEAR),
        **{f"OpenCV: reduced by {n}, areas": partial(decoded, jpeg, REDUCED[n], cv2.INTER_AREA) for n in small},
        "Pillow: reduced as it likes, areas": partial(drafted, file),
        "alledge: PNG to tile": lambda: resize(decode_image(png, "a.png"), TILE),
        "raw pixels, alledge's resize": partial(resize, rgb, TILE),
    }


def parts(rgb: Pixels) -> dict[str, Step]:
    """What a road consists of, and its floor."""
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    file = jpeg.tobytes()
    return {"bare copy of the frame": rgb.copy,
            "alledge decodes the JPEG": partial(decode_image, file, "a.jpg", halve=True),
            "OpenCV decodes the JPEG": partial(cv2.imdecode, jpeg, cv2.IMREAD_COLOR),
            **{f"OpenCV decodes it reduced by {n}": partial(cv2.imdecode, jpeg, flag) for n, flag in REDUCED.items()},
            "alledge's resize": partial(resize, rgb, TILE)}


def decibels(one: Pixels, other: Pixels) -> float:
    return float(min(cv2.PSNR(one, other), 99.0))


def loss_table(size: str) -> str:
    """What reading a part of a JPEG loses against areas of the whole, by content, quality and tile."""
    rows = []
    for content, rgb in (("enlarged, with noise", picture(size)), ("fields side by side", detailed(size))):
        for quality in QUALITIES:
            jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            found = {n: cv2.imdecode(jpeg, flag) for n, flag in {1: cv2.IMREAD_COLOR, **REDUCED}.items()}
            for tile in TILES:
                areas = {n: small(square(bgr), tile) for n, bgr in found.items() if min(bgr.shape[:2]) >= tile}
                original = small(square(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)), tile)
                rows.append((content, quality, tile, f"{decibels(original, areas[1]):.1f}",
                             *(f"{decibels(areas[n], areas[1]):.1f}" if n in areas else "" for n in REDUCED)))
    columns = ("picture", "quality", "tile", "the JPEG itself", *(f"reduced by {n}" for n in REDUCED))
    return table(columns, rows)


def small(bgr: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(bgr, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def road_table(sizes: list[str], found: dict[str, tuple[dict[str, Taken], dict[str, float]]]) -> str:
    rows = [(size, name, times(over(t, taken[SHIPPED])), spread(t.cpu), spread(t.wall), f"{losses[name]:.1f}")
            for size, (taken, losses) in found.items() for name, t in taken.items()]
    return table(("frame", "road to 224x224", "of ours", "CPU ms", "wall ms", "PSNR, dB"), rows)


def part_table(found: dict[str, dict[str, Taken]]) -> str:
    rows = [(size, name, times(over(t, taken["OpenCV decodes the JPEG"])), spread(t.cpu), spread(t.wall))
            for size, taken in found.items() for name, t in taken.items()]
    return table(("frame", "step", "of OpenCV's decoder", "CPU ms", "wall ms"), rows)


def measure(size: str, rounds: int) -> tuple[dict[str, Taken], dict[str, float], dict[str, Taken]]:
    rgb = picture(size)
    ways = roads(rgb)
    whole = ways["OpenCV: whole, areas"]()
    losses = {name: decibels(way(), whole) for name, way in ways.items()}
    return take_turns(ways, rounds, LEAST_S, BUDGET_S), losses, take_turns(parts(rgb), rounds, LEAST_S, BUDGET_S)


def target_rows(found: dict[str, tuple[dict[str, Taken], dict[str, float]]]) -> list[tuple[str, ...]]:
    if LARGEST not in found:
        return []
    (taken, losses) = found[LARGEST]
    return [target(f"12 MP JPEG to 224x224, `{name}`", f"under {MOST_MS:.0f} ms and {LEAST_DB:.0f} dB or more",
                   f"{spread(taken[name].cpu)} ms, {losses[name]:.1f} dB",
                   float(np.nanmedian(taken[name].cpu)) < MOST_MS and losses[name] >= LEAST_DB)
            for name in taken if name == SHIPPED or "reduced" in name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/results/capture.md"))
    given = parser.parse_args()
    one_core()
    all_of_it = {size: measure(size, given.rounds) for size in given.sizes}
    found = {size: (taken, losses) for size, (taken, losses, _) in all_of_it.items()}
    given.out.write_text(f"""{head("Capture and decoding", f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}")}
Drawn fields with a noise of {NOISE:g} levels, JPEG of quality {QUALITY}; one thread on one core, {given.rounds} rounds
in turns. Median, in brackets the lowest and the highest tenth; ratios of processor time, round by round. PSNR is
against decoding all of the JPEG and averaging areas; that of raw pixels and of PNG has what the JPEG itself lost. A
camera that scales in hardware hands over the smaller raw frame: compare the rows "raw pixels" of the sizes. A sensor's
own time is not in it.

## Targets

{table(TARGETS, target_rows(found))}

## Roads

{road_table(given.sizes, found)}

## What a part of a JPEG loses

Of {LARGEST}, in decibels against areas of the whole JPEG; "the JPEG itself" is what that lost of the pixels it was made
of. Files of {HALVED_FROM} pixels a side and more are read reduced by 2 where they become tiles, others whole.

{loss_table(LARGEST)}

## Steps

{part_table({size: steps for size, (_, _, steps) in all_of_it.items()})}

Not measured here: a real camera's own wait, a hardware JPEG decoder. `alledge bench --camera URI` measures the first.
""", "utf-8")


if __name__ == "__main__":
    main()
