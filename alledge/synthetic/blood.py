"""Everything on a smear that is not a white cell: red cells, platelets, plasma."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Point, coverage, grain, outline

RED_CELL_UM = 7.2
"""Mean red-cell diameter on a dried smear (6.2 to 8.2 in health)."""


def paint_plasma(canvas: Canvas, rng: np.random.Generator) -> None:
    """A film of protein, thicker here and thinner there."""
    shape = (canvas.size, canvas.size)
    canvas.plasma += 1 + 0.25 * grain(rng, shape, canvas.size / 3)
    canvas.plasma += 0.10 * grain(rng, shape, 3 * canvas.scale)


def paint_red_cell(canvas: Canvas, rng: np.random.Generator, centre: Point) -> None:
    """A disc with a pale middle: thickness falls towards the centre and at the very edge."""
    radius = RED_CELL_UM / 2 * rng.normal(1, 0.07) * canvas.scale
    patch = canvas.patch(centre, 1.25 * radius)
    disc = coverage(outline(rng, radius, 0.02, abs(rng.normal(0, 0.05))), centre, patch)
    if disc.size == 0:
        return
    y, x = np.ogrid[patch]
    shift = rng.normal(0, 0.06 * radius, 2)
    away = ((x - centre[0] - shift[0]) ** 2 + (y - centre[1] - shift[1]) ** 2) / np.float32(radius) ** 2
    pallor = rng.uniform(0.35, 0.8) * np.exp(-away.astype(np.float32) / rng.uniform(0.10, 0.25))
    canvas.red[patch] += disc * (rng.uniform(0.85, 1.1) * (1 - pallor)).astype(np.float32)


def paint_platelet(canvas: Canvas, rng: np.random.Generator, centre: Point) -> None:
    """A small granular violet body, 2 to 3 micrometres, paler than a nucleus."""
    radius = rng.uniform(0.9, 1.5) * canvas.scale
    patch = canvas.patch(centre, 1.4 * radius)
    body = coverage(outline(rng, radius, 0.10, 0.08), centre, patch)
    if body.size == 0:
        return
    canvas.cytoplasm[patch] += 0.35 * body
    canvas.nucleus[patch] += body * (0.28 + 0.10 * grain(rng, body.shape, 0.5 * canvas.scale))
