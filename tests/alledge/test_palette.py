"""Six figures of a tile's colours: the stain counts, the lamp does not."""

import numpy as np
import pytest

from alledge.labels import LABELS
from alledge.palette import FIGURES, colour_figures, stain_figures
from alledge.perturb import stain_transfer, yellow_cast
from alledge.synthetic import draw_field


def drawn(label, seed=1):
    return draw_field(label, seed, 224).rgb


@pytest.mark.parametrize("label", LABELS)
def test_a_lamp_that_turned_yellow_changes_no_stain(label):
    field = drawn(label)
    yellow = yellow_cast(field, 1.0, field, np.random.default_rng(0))
    assert np.abs(colour_figures(yellow) - colour_figures(field)).max() > 0.3
    assert stain_figures(yellow) == pytest.approx(stain_figures(field), abs=0.03)


def test_another_stain_is_another_stain():
    field, donor = drawn("benign"), 255 - (255 - drawn("pro_b", 2)) // 3  # a third of the dye, roughly
    stained = stain_transfer(field, 1.0, donor, np.random.default_rng(0))
    assert np.abs(stain_figures(stained) - stain_figures(field)).max() > 0.2


@pytest.mark.parametrize("tile", [np.zeros((224, 224, 3), np.uint8), np.full((224, 224, 4), 255, np.uint8),
                                  np.eye(224, dtype=np.uint8)[..., None].repeat(3, 2)])
def test_any_tile_has_finite_figures(tile):
    assert stain_figures(tile).shape == (FIGURES,)
    assert np.isfinite(stain_figures(tile)).all()
