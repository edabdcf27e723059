"""Disturbances do what they are called, and the sweep counts what a judge says under them."""

import numpy as np
import pytest

from alledge.dataset import read_dataset
from alledge.images import read_image
from alledge.labels import LABELS
from alledge.perturb import PERTURBATIONS, YELLOW
from alledge.robustness import STEPS, sweep
from alledge.synthetic import draw_field


def change(name, field, level, donor=None, seed=0):
    (perturbation,) = (p for p in PERTURBATIONS if p.name == name)
    before = field.copy()
    changed = perturbation.change(field, level, field if donor is None else donor, np.random.default_rng(seed))
    assert np.array_equal(field, before), "the field itself must stay as it is"
    assert changed.shape == field.shape
    assert changed.dtype == np.uint8
    return changed


@pytest.fixture(scope="module")
def pair():
    return draw_field("pre_b", 3).rgb, draw_field("benign", 8).rgb


def test_every_level_is_worse_than_the_one_before(pair):
    field, donor = pair
    for perturbation in PERTURBATIONS:
        if perturbation.name == "exposure":  # two-sided
            continue
        distances = [np.abs(change(perturbation.name, field, level, donor).astype(int) - field).mean()
                     for level in perturbation.levels]
        assert distances[0] > 0, perturbation.name
        assert distances == sorted(distances), perturbation.name


def test_level_one_of_the_yellow_cast_is_the_papers(pair):
    expected = np.rint(pair[0] * np.array(YELLOW))
    assert np.abs(change("yellow_cast", pair[0], 1.0) - expected).max() <= 1


def test_exposure_follows_the_light(pair):
    darker, brighter = (change("exposure", pair[0], stops) for stops in (-1.0, 0.5))
    assert darker.mean() < pair[0].mean() < brighter.mean()
    ratio = (darker[60:160, 60:160] / 255.0).mean() ** 2.2 / (pair[0][60:160, 60:160] / 255.0).mean() ** 2.2
    assert ratio == pytest.approx(0.5, abs=0.05)


def test_blur_grows_with_the_field():
    small, large = draw_field("pro_b", 1, 128).rgb, draw_field("pro_b", 1, 512).rgb
    loss = [np.abs(change("blur", f, 2.0).astype(int) - f).mean() for f in (small, large)]
    assert loss[1] > 0.4 * loss[0]  # a fixed sigma in pixels would hardly touch the large one


def test_a_borrowed_stain_moves_colours_to_the_donors_and_shapes_nowhere(pair):
    field, donor = pair
    there = change("stain_transfer", field, 1.0, donor)
    glass = [np.percentile(f, 90, axis=(0, 1)) for f in (field, there, donor)]
    assert np.abs(glass[1] - glass[2]).max() < 4
    assert np.abs(glass[0] - glass[2]).max() > 2 * np.abs(glass[1] - glass[2]).max()
    green = [f[..., 1].ravel().astype(float) for f in (field, there)]
    assert np.corrcoef(*green)[0, 1] > 0.99
    assert np.abs(change("stain_transfer", field, 1.0).astype(int) - field).max() <= 1  # its own stain


def test_only_the_corner_is_covered(pair):
    covered = change("scale_bar", pair[0], 1.0)
    touched = np.argwhere((covered != pair[0]).any(2))
    assert touched.min(0).tolist() >= [190, 130]
    assert len(np.unique(covered[-20:, -80:].reshape(-1, 3), axis=0)) == 1


def test_noise_is_repeatable_and_of_the_size_it_says(pair):
    first, again, other = (change("noise", pair[0], 8.0, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    inner = (pair[0] > 40) & (pair[0] < 215)
    assert (first.astype(int) - pair[0])[inner].std() == pytest.approx(8.0, rel=0.05)


def test_the_sweep_tells_accuracy_coverage_and_both_together(smears):
    items = read_dataset(smears).subset("test")
    truth = np.array([i.index for i in items])
    seen = []
    dim = 0.9 * np.array([read_image(i.path).mean() for i in items])

    def judge(fields):
        """Stand-in for a network: right on clean fields, silent on darkened ones, and benign to all that are noisy."""
        fields = list(fields)
        seen.append(len(fields))
        level = np.array([f.mean() for f in fields])
        rough = np.array([np.abs(np.diff(f[:20, :20].astype(int), axis=0)).mean() for f in fields])
        guess = np.where(rough > 12, 0, truth)
        return np.eye(len(LABELS))[guess] * 0.9 + 0.025, level > dim

    clean = judge(read_image(i.path) for i in items)
    levels = sweep(judge, items, clean)
    assert len(levels) == 1 + STEPS == len(seen)
    assert set(seen) == {len(items)}
    by_name = {(row.perturbation, row.level): row for row in levels}
    assert by_name["none", 0.0].accuracy == 1.0
    dark, noisy = by_name["exposure", -1.0], by_name["noise", 16.0]
    assert (dark.answered, dark.accuracy_when_answered, dark.accuracy_when_answered_ci95) == (0.0, None, None)
    assert noisy.accuracy == pytest.approx((truth == 0).mean())
    assert noisy.missed == (truth > 0).sum()
    assert noisy.answered_ci95[0] <= noisy.answered <= noisy.answered_ci95[1]
