"""Named stains, as optical densities.

Dyes absorb, so colours multiply and optical densities add (Beer-Lambert; the same space in which
Ruifrok & Johnston, 2001, separate stains). Each stain names the density per colour channel of the
four absorbing things of a smear, at the thickness of a typical cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Stain:
    """Optical density (log10, red-green-blue) of each part of the smear under one recipe."""

    nucleus: Rgb
    cytoplasm: Rgb
    red_cell: Rgb
    plasma: Rgb

    def densities(self) -> NDArray[np.float32]:
        """float32 [4, 3]: nucleus, cytoplasm, red cell, plasma."""
        return np.array([self.nucleus, self.cytoplasm, self.red_cell, self.plasma], np.float32)


STAINS: dict[str, Stain] = {
    # Eosin-rich: pink red cells, violet nuclei.
    "wright_giemsa": Stain((0.56, 0.98, 0.38), (0.30, 0.24, 0.07), (0.05, 0.26, 0.17), (0.01, 0.05, 0.03)),
    # Azure-rich, alkaline buffer: everything leans to blue-violet, red cells mauve-grey.
    "giemsa": Stain((0.74, 1.02, 0.36), (0.36, 0.26, 0.07), (0.13, 0.27, 0.14), (0.05, 0.06, 0.02)),
    # Old slide or acid buffer: plasma and red cells yellowish to orange.
    "yellowed": Stain((0.50, 0.95, 0.46), (0.28, 0.25, 0.13), (0.03, 0.18, 0.25), (0.01, 0.04, 0.10)),
    # Short staining time: all densities low.
    "pale": Stain((0.40, 0.72, 0.26), (0.20, 0.16, 0.05), (0.04, 0.17, 0.11), (0.01, 0.02, 0.01)),
    # Overstained: dark purple nuclei on a heavy background.
    "dark": Stain((0.84, 1.25, 0.56), (0.42, 0.36, 0.14), (0.09, 0.35, 0.24), (0.05, 0.10, 0.07)),
}
