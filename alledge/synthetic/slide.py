"""What all fields of one slide share: stain, light, magnification and how crowded it is.

None of it depends on the class. In the public ALL images cell density and stain give the class away,
so a network can look good without ever looking at a cell; here they are noise by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alledge.errors import UsageError

from .stain import STAINS

FIELD_UM = 56.0
"""Width of a field: 4 px per micrometre at 224 px, about a 100x objective on a small sensor."""


@dataclass(frozen=True)
class Slide:
    """One slide on one microscope."""

    stain: str
    densities: tuple[tuple[float, float, float], ...]
    """Optical density per colour of nucleus, cytoplasm, red cell, plasma: the stain as it came out."""
    exposure: float
    """Brightness of the empty background, 1 = just below white (linear light)."""
    cast: tuple[float, float, float]
    """Gain per colour channel (linear light): lamp colour and white balance."""
    white_cells: float
    """Mean white cells per field."""
    red_cells: float
    """Mean red cells per field."""
    magnification: float
    noise: float
    """Sensor noise at full brightness, in 8-bit grey levels."""


def draw_slide(rng: np.random.Generator, stain: str | None = None) -> Slide:
    """A random slide, of a given stain or of any."""
    name = known_stain(stain) if stain is not None else str(rng.choice(list(STAINS)))
    return Slide(
        stain=name,
        densities=_stained(rng, name),
        exposure=float(rng.uniform(0.68, 0.95)),
        cast=_cast(rng),
        white_cells=float(rng.uniform(2.5, 8.0)),
        red_cells=float(rng.uniform(8.0, 32.0)),
        magnification=float(rng.uniform(0.94, 1.06)),
        noise=float(rng.uniform(1.0, 3.0)),
    )


def known_stain(name: str) -> str:
    """The name itself, or one sentence on what is known."""
    if name not in STAINS:
        raise UsageError(f"stain must be one of {', '.join(STAINS)}, not {name!r}")
    return name


def _stained(rng: np.random.Generator, name: str) -> tuple[tuple[float, float, float], ...]:
    """The recipe as it came out this time: overall strength, each dye and each hue vary."""
    recipe: NDArray[np.float32] = STAINS[name].densities()
    strength = rng.uniform(0.9, 1.1) * rng.uniform(0.88, 1.12, (4, 1)) * rng.normal(1, 0.03, (4, 3))
    return tuple((float(r), float(g), float(b)) for r, g, b in recipe * strength)


def _cast(rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = np.clip(rng.normal(1.0, 0.05, 3), 0.85, 1.1)
    return float(red), float(green), float(blue)
