"""Draw one field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alledge.errors import UsageError
from alledge.labels import LABELS

from .appearance import APPEARANCE
from .blood import RED_CELL_UM, paint_plasma, paint_platelet, paint_red_cell
from .canvas import Canvas, Point
from .lymphoid import Cell, draw_cell, paint_cell
from .optics import photograph
from .slide import FIELD_UM, Slide, draw_slide

REFERENCE_PX = 224
"""Pixel lengths in the arguments (focus) are meant at this field size, so a field looks alike at any size."""
TRIES = 30
"""Random places tried for a cell before it is left out of a crowded field."""
MOST_SPARSE = 2
"""Fewest white cells placed in a field that is meant to show some."""
EXPOSURE_LEAST = 0.01
"""A darker field than this is black in eight bits."""

Places = list[tuple[tuple[float, float], float]]


@dataclass(frozen=True)
class Field:
    """One drawn field and what is true of it."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB."""
    nuclei: NDArray[np.uint8]
    """uint8 [H, W], 255 where a lymphoid nucleus is, else 0."""
    label: str | None
    """Class of its white cells, None for a field without any."""
    slide: Slide
    white_cells: int
    red_cells: int
    focus: float
    """Blur of the lens, sigma in pixels of a 224-pixel field."""

    @property
    def stain(self) -> str:
        """Name of the stain."""
        return self.slide.stain


def draw_field(
    label: str | None,
    seed: int,
    size: int = REFERENCE_PX,
    *,
    slide: Slide | None = None,
    stain: str | None = None,
    exposure: float | None = None,
    cast: tuple[float, float, float] | None = None,
    noise: float | None = None,
    white_cells: float | None = None,
    focus: float | None = None,
) -> Field:
    """One field of `size` x `size` pixels; the same arguments give the same picture.

    `label` None draws an empty field: plasma, red cells, platelets. What is left None is drawn at random
    from the seed, from ranges that do not depend on the label. `exposure` 1 puts the background just below
    white (0.2 is dark, 2 burns out), `cast` is a gain per colour, `noise` is in grey levels, `white_cells`
    the mean count per field, `focus` the blur sigma in pixels at 224 px (0.6 is sharp, 4 useless).
    """
    _check(label, seed, size, exposure=exposure, noise=noise, white_cells=white_cells, focus=focus)
    if slide is not None and stain is not None:
        raise UsageError("stain must be left out when slide is given: a slide has its stain")
    if slide is None:
        slide = draw_slide(np.random.default_rng([seed, 0]), stain)
    slide = replace(
        slide,
        exposure=slide.exposure if exposure is None else exposure,
        cast=slide.cast if cast is None else cast,
        noise=slide.noise if noise is None else noise,
        white_cells=slide.white_cells if white_cells is None else white_cells,
    )
    rng = np.random.default_rng([seed, 1 if label is None else 2 + LABELS.index(label)])
    blur = float(rng.uniform(0.45, 0.85)) if focus is None else float(focus)
    canvas = Canvas(size, size / FIELD_UM * slide.magnification)
    paint_plasma(canvas, rng)
    white, red = _populate(canvas, rng, label, slide)
    rgb = photograph(canvas.layers, slide, blur * size / REFERENCE_PX, rng)
    return Field(rgb, canvas.truth, label, slide, white, red, blur)


def _check(label: str | None, seed: int, size: int, **amounts: float | None) -> None:
    if label is not None and label not in LABELS:
        raise UsageError(f"label must be one of {', '.join(LABELS)} or None (empty), not {label!r}")
    if seed < 0:
        raise UsageError(f"seed must be a whole number from 0 up, not {seed}")
    if not 32 <= size <= 4096:
        raise UsageError(f"size must be 32 to 4096 pixels, not {size}")
    for name, amount in amounts.items():
        least = EXPOSURE_LEAST if name == "exposure" else 0.0
        if amount is not None and not least <= amount < np.inf:
            raise UsageError(f"{name} must be a number from {least:g} up, not {amount}")


def _populate(canvas: Canvas, rng: np.random.Generator, label: str | None, slide: Slide) -> tuple[int, int]:
    """Find places for all cells, then paint: platelets and red cells lie under the white cells."""
    taken: Places = []
    white = _place_white_cells(canvas, rng, label, slide, taken)
    red_radius = 0.46 * RED_CELL_UM * canvas.scale  # a little short of the true radius: red cells overlap
    wanted = int(rng.poisson(slide.red_cells))
    red = [spot for _ in range(wanted) if (spot := _place(rng, canvas.size, taken, red_radius)) is not None]
    for spot in red:
        paint_red_cell(canvas, rng, spot)
    for _ in range(int(rng.poisson(1.5))):
        spot = _place(rng, canvas.size, taken, 1.5 * canvas.scale)
        if spot is not None:
            paint_platelet(canvas, rng, spot)
    for cell, spot in white:
        paint_cell(canvas, rng, cell, spot)
    return len(white), len(red)


def _place_white_cells(
    canvas: Canvas, rng: np.random.Generator, label: str | None, slide: Slide, taken: Places
) -> list[tuple[Cell, Point]]:
    if label is None:
        return []
    wanted = max(MOST_SPARSE, int(rng.poisson(slide.white_cells)))
    cells = [draw_cell(rng, APPEARANCE[label]) for _ in range(wanted)]
    spots = [_place(rng, canvas.size, taken, cell.radius_um * canvas.scale) for cell in cells]
    return [(cell, spot) for cell, spot in zip(cells, spots, strict=True) if spot is not None]


def _place(rng: np.random.Generator, size: int, taken: Places, radius: float) -> Point | None:
    """A free spot for a disc of this radius (pixels), added to `taken`; None when the field is full."""
    for _ in range(TRIES):
        spot = rng.uniform(0, size), rng.uniform(0, size)
        if all(math.dist(spot, other) > radius + reach for other, reach in taken):
            taken.append((spot, radius))
            return np.array(spot)
    return None
