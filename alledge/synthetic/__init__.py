"""Synthetic blood smears: drawn fields with a true nucleus mask, for demos and tests.

Nothing here is patient data and nothing here proves anything about patients: the pictures
are drawn from the conventions in `appearance.py`, so that the whole product can be tried,
tested and timed on a machine that has no data set.
"""

from .dataset import write_dataset
from .field import Field, draw_field
from .slide import Slide, draw_slide
from .stain import STAINS

__all__ = ["STAINS", "Field", "Slide", "draw_field", "draw_slide", "write_dataset"]
