"""Pictures that are no smears, drawn: a domain gate must refuse every one. No photograph is needed for that.

    python benchmarks/strangers.py OUT --each 20

Always the same pictures.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.images import write_png

SIDE = 224
Picture = NDArray[np.uint8]
Random = np.random.Generator


def texture(random: Random) -> Picture:
    """Smoothed colour noise."""
    noise = cv2.GaussianBlur(random.random((SIDE, SIDE, 3)), (0, 0), random.uniform(1, 12))
    return _eight_bits((noise - noise.min()) / np.ptp(noise) * 255)


def text(random: Random) -> Picture:
    """A page of random letters."""
    page = np.full((SIDE, SIDE, 3), random.integers(180, 256, 3), np.uint8)
    for line in range(14):
        words = "".join(chr(code) for code in random.integers(65, 122, 18))
        cv2.putText(page, words, (5, 15 + line * 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _colour(random, 0, 90), 1)
    return page


def gradient(random: Random) -> Picture:
    """From one colour to another."""
    way = np.linspace(0, 1, SIDE)[:, None, None] * np.ones((1, SIDE, 1))
    return _eight_bits(random.integers(0, 256, 3) * (1 - way) + random.integers(0, 256, 3) * way)


def waves(random: Random) -> Picture:
    """Regular patterns, as of cloth."""
    period = random.uniform(3, 30)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    pattern = np.sin(across / period) * np.cos(down / period * random.uniform(0.3, 2))
    return _eight_bits(pattern[..., None] * random.uniform(30, 120, 3) + 128)


def face(random: Random) -> Picture:
    """An oval with eyes and a mouth, blurred and noisy."""
    picture = np.full((SIDE, SIDE, 3), random.integers(60, 200, 3), np.uint8)
    cv2.ellipse(picture, (112, 112), (60, 80), 0, 0, 360, _colour(random, 140, 230), -1)
    for eye in (90, 134):
        cv2.circle(picture, (eye, 95), 8, (40, 30, 30), -1)
    cv2.ellipse(picture, (112, 150), (25, 10), 0, 0, 180, (150, 60, 60), -1)
    return _eight_bits(cv2.GaussianBlur(picture, (0, 0), 2) + random.normal(0, 8, picture.shape))


def blobs(random: Random) -> Picture:
    """Coloured discs, about as many and as large as cells."""
    picture = np.full((SIDE, SIDE, 3), random.integers(150, 250, 3), np.uint8)
    for _ in range(25):
        centre = tuple(int(v) for v in random.integers(0, SIDE, 2))
        cv2.circle(picture, centre, int(random.integers(5, 25)), _colour(random, 0, 256), -1)
    return picture


KINDS: tuple[Callable[[Random], Picture], ...] = (texture, text, gradient, waves, face, blobs)


def write_strangers(out: Path, each: int, seed: int = 3) -> None:
    """Write `each` pictures of every kind as PNG."""
    for draw in KINDS:
        for number in range(each):
            write_png(out / f"{draw.__name__}_{number:03d}.png", draw(np.random.default_rng((seed, number))))


def _colour(random: Random, low: int, high: int) -> tuple[int, ...]:
    return tuple(int(v) for v in random.integers(low, high, 3))


def _eight_bits(picture: NDArray[np.float64]) -> Picture:
    return np.clip(picture, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--each", type=int, default=20)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    write_strangers(given.out, given.each)
