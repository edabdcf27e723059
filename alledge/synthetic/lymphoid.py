"""One white cell of the lymphoid line: cytoplasm, nucleus, chromatin, nucleoli, vacuoles."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .appearance import Appearance, Spread
from .canvas import ANGLES, Canvas, Patch, Plane, Point, coverage, grain, outline


@dataclass(frozen=True)
class Cell:
    """Size of a cell before it has a place. Lengths in micrometres."""

    look: Appearance
    nucleus_um: float
    rim_um: float

    @property
    def radius_um(self) -> float:
        """Radius of the whole cell."""
        return self.nucleus_um / 2 + self.rim_um


def draw_cell(rng: np.random.Generator, look: Appearance) -> Cell:
    """Sizes of one cell of a class."""
    return Cell(look, _positive(rng, look.nucleus_um), _positive(rng, look.rim_um))


def paint_cell(canvas: Canvas, rng: np.random.Generator, cell: Cell, centre: Point) -> None:
    """Add one cell, its centre in pixels."""
    look = cell.look
    patch = canvas.patch(centre, 1.3 * cell.radius_um * canvas.scale)
    nucleus_centre = centre + _step(rng, look.off_centre * cell.rim_um * canvas.scale)
    body = coverage(outline(rng, cell.radius_um * canvas.scale, 0.03, rng.uniform(0, 0.06)), centre, patch)
    if body.size == 0:
        return
    nucleus = coverage(_contour(rng, look, cell.nucleus_um / 2 * canvas.scale), nucleus_centre, patch)
    body = np.maximum(body, nucleus)
    canvas.red[patch] *= 1 - 0.95 * body
    _add_cytoplasm(canvas, rng, look, body - nucleus, patch)
    canvas.nucleus[patch] *= 1 - 0.5 * body  # cells touch, but hardly ever lie on top of each other
    canvas.nucleus[patch] += nucleus * _chromatin(canvas, rng, cell, nucleus, nucleus_centre, patch)
    canvas.truth[patch][nucleus >= 0.5] = 255


def _contour(rng: np.random.Generator, look: Appearance, radius: float) -> NDArray[np.float64]:
    """Nuclear outline with its indentations: pixels at each of ANGLES."""
    radii = outline(rng, radius, look.waviness, rng.uniform(0.0, 0.08))
    count = int(rng.integers(look.clefts[0], look.clefts[1] + 1))
    first = rng.uniform(0, 2 * np.pi)
    for number in range(count):
        middle = first + 2 * np.pi * number / count + rng.normal(0, 0.25)
        away = np.angle(np.exp(1j * (ANGLES - middle)))
        depth = look.cleft_depth * rng.uniform(0.8, 1.2)
        radii = radii * (1 - depth * np.exp(-((away / rng.uniform(0.25, 0.4)) ** 2)))
    return radii


def _chromatin(
    canvas: Canvas, rng: np.random.Generator, cell: Cell, nucleus: Plane, centre: Point, patch: Patch
) -> Plane:
    """Density of the nucleus, about 1: clumps, a darker membrane, pale nucleoli."""
    look = cell.look
    clumps = np.tanh(1.2 * grain(rng, nucleus.shape, look.grain_um * canvas.scale)) * 1.3
    inside = cv2.GaussianBlur(nucleus, (0, 0), 0.45 * canvas.scale)
    density = 1 + look.clumping * clumps + 0.35 * np.clip(0.95 - inside, 0, 0.5)
    for _ in range(int(rng.integers(look.nucleoli[0], look.nucleoli[1] + 1))):
        place = centre + _step(rng, rng.uniform(0.15, 0.55) * cell.nucleus_um / 2 * canvas.scale)
        radius = rng.uniform(0.65, 0.95) * canvas.scale
        disc = coverage(outline(rng, radius, 0.05), place, patch)
        ring = coverage(outline(rng, 1.6 * radius, 0.05), place, patch)
        density += 0.18 * (ring - disc) - 0.35 * disc
    strength = look.density * rng.uniform(0.88, 1.12)
    solid: Plane = np.maximum(strength * density, np.float32(0.3))
    return solid


def _add_cytoplasm(canvas: Canvas, rng: np.random.Generator, look: Appearance, rim: Plane, patch: Patch) -> None:
    """A blue rim, faintly mottled, with vacuoles where the class has them."""
    amount = _positive(rng, look.basophilia) * (1 + 0.12 * grain(rng, rim.shape, 0.7 * canvas.scale))
    columns, rows = np.nonzero(rim > 0.9)[::-1]
    for _ in range(int(rng.integers(look.vacuoles[0], look.vacuoles[1] + 1)) if len(rows) else 0):
        pick = int(rng.integers(len(rows)))
        place = np.array([columns[pick] + patch[1].start, rows[pick] + patch[0].start], float)
        bubble = outline(rng, rng.uniform(0.3, 0.6) * canvas.scale, 0.03)
        amount = amount * (1 - 0.8 * coverage(bubble, place, patch))
    canvas.cytoplasm[patch] = canvas.cytoplasm[patch] * (1 - rim) + rim * amount


def _positive(rng: np.random.Generator, spread: Spread) -> float:
    """A draw that stays within two deviations, so that no cell is a freak."""
    mean, deviation = spread
    return float(np.clip(rng.normal(mean, deviation), mean - 2 * deviation, mean + 2 * deviation))


def _step(rng: np.random.Generator, length: float) -> Point:
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])
