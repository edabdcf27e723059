"""What the lymphoid cells of each class look like: a SYNTHETIC CONVENTION, not a diagnostic table.

On a stained smear the B-ALL subtypes overlap so much that laboratories tell them apart by flow
cytometry, never by eye. To have something a network can learn, each class is given one
exaggerated appearance, inspired by what haematology atlases say of lymphoid maturation:

- benign: haematogone-like or small lymphocyte; small round nucleus, chromatin in coarse dense
  blocks, no nucleoli, the merest rim of cytoplasm;
- early_pre_b: mid-sized blast with a cleft nucleus (the "hand-mirror"/indented look), chromatin of
  middling grain, no nucleoli to be seen, scant pale cytoplasm;
- pre_b: round nucleus set off-centre in a moderate, blue, vacuolated cytoplasm, fine chromatin, at
  most one nucleolus;
- pro_b: the largest, with a folded, lobed nucleus, open chromatin, prominent nucleoli, a narrow, deep blue
  rim of cytoplasm.

How many cells a field holds, how dark they stain and how they are lit is deliberately absent: those
belong to the slide (`slide.py`) and must not tell the class.
"""

from __future__ import annotations

from dataclasses import dataclass

Spread = tuple[float, float]
"""Mean and standard deviation over cells."""


@dataclass(frozen=True)
class Appearance:
    """How one class of cell is drawn. Lengths in micrometres, the rest without unit."""

    nucleus_um: Spread
    """Nucleus diameter."""
    rim_um: Spread
    """Width of the cytoplasm around the nucleus."""
    off_centre: float
    """How far the nucleus sits from the middle of its cell, as a share of the rim."""
    waviness: float
    """Amplitude of the slow waves of the nuclear contour, as a share of its radius."""
    clefts: tuple[int, int]
    """Fewest and most indentations."""
    cleft_depth: float
    """Depth of an indentation, as a share of the radius."""
    grain_um: float
    """Size of the chromatin clumps."""
    density: float
    """Mean density of the nucleus, 1 = typical; open chromatin is paler."""
    clumping: float
    """Contrast of the chromatin: standard deviation of its density over its mean."""
    nucleoli: tuple[int, int]
    """Fewest and most nucleoli."""
    basophilia: Spread
    """Blueness of the cytoplasm; 1 is a deep blue."""
    vacuoles: tuple[int, int]
    """Fewest and most vacuoles in the cytoplasm."""


APPEARANCE: dict[str, Appearance] = {
    "benign": Appearance(
        nucleus_um=(7.2, 0.45), rim_um=(0.8, 0.2), off_centre=0.3,
        waviness=0.03, clefts=(0, 0), cleft_depth=0.0,
        grain_um=1.6, density=1.12, clumping=0.24, nucleoli=(0, 0),
        basophilia=(0.60, 0.12), vacuoles=(0, 0),
    ),
    "early_pre_b": Appearance(
        nucleus_um=(9.4, 0.6), rim_um=(0.9, 0.2), off_centre=0.3,
        waviness=0.04, clefts=(1, 1), cleft_depth=0.50,
        grain_um=1.2, density=1.0, clumping=0.20, nucleoli=(0, 0),
        basophilia=(0.55, 0.12), vacuoles=(0, 0),
    ),
    "pre_b": Appearance(
        nucleus_um=(8.8, 0.6), rim_um=(2.2, 0.3), off_centre=0.7,
        waviness=0.03, clefts=(0, 0), cleft_depth=0.0,
        grain_um=0.8, density=1.0, clumping=0.14, nucleoli=(0, 1),
        basophilia=(0.80, 0.12), vacuoles=(2, 5),
    ),
    "pro_b": Appearance(
        nucleus_um=(11.6, 0.7), rim_um=(0.9, 0.2), off_centre=0.3,
        waviness=0.08, clefts=(3, 3), cleft_depth=0.30,
        grain_um=0.5, density=0.93, clumping=0.08, nucleoli=(3, 5),
        basophilia=(0.80, 0.12), vacuoles=(0, 0),
    ),
}  # fmt: skip
