"""Intervals hold what they promise: they contain the true figure about as often as they say."""

import json

import numpy as np
import pytest
from sklearn import metrics as theirs

from alledge.figures import RESAMPLES, Cases, bootstrap, figures, risk_coverage
from alledge.metrics import score, wilson

TRIALS = 60


def slides(random, groups=30, size=10, spread=1.0, truth_accuracy=0.8):
    """Fields of slides that are easy or hard as a whole: right is correlated inside a slide."""
    logit = np.log(truth_accuracy / (1 - truth_accuracy)) + random.normal(0, spread, groups)
    right = random.random((groups, size)) < (1 / (1 + np.exp(-logit)))[:, None]
    truth = random.integers(0, 4, groups * size)
    guess = np.where(right.ravel(), truth, (truth + 1) % 4)
    probabilities = np.full((len(truth), 4), 0.1)
    probabilities[np.arange(len(truth)), guess] = 0.7
    return probabilities, truth, np.repeat(np.arange(groups), size)


def true_accuracy(spread=1.0):
    logit = np.log(4) + np.random.default_rng(0).normal(0, spread, 400_000)
    return (1 / (1 + np.exp(-logit))).mean()


def test_group_intervals_cover_where_wilsons_do_not():
    random, wanted = np.random.default_rng(1), true_accuracy()
    hit = np.zeros(2)
    for _ in range(TRIALS):
        probabilities, truth, groups = slides(random)
        found = score(probabilities, truth, groups=[str(g) for g in groups])
        for i, (low, high) in enumerate((found.accuracy_group_ci95, found.accuracy_ci95)):
            hit[i] += low <= wanted <= high
    grouped, independent = hit / TRIALS
    assert grouped >= 0.88
    assert independent < grouped - 0.05


def test_without_groups_there_is_no_group_interval():
    random = np.random.default_rng(2)
    probabilities, truth, _ = slides(random)
    found = score(probabilities, truth)
    assert found.groups is None
    assert found.accuracy_group_ci95 is None
    assert found.malignant["sensitivity_group_ci95"] is None
    alone = score(probabilities, truth, groups=[str(i) for i in range(len(truth))])
    assert alone.groups is None
    assert alone.auc_ci95 == pytest.approx(found.auc_ci95, abs=0.01)  # other draws of the same units


def test_bootstrap_without_groups_is_about_as_wide_as_wilson():
    probabilities, truth, _ = slides(np.random.default_rng(3), spread=0.0)
    drawn = bootstrap(Cases(probabilities, truth, np.ones(len(truth), bool)), np.arange(len(truth)))
    low, high = np.percentile(drawn.accuracy, (2.5, 97.5))
    assert (low, high) == pytest.approx(wilson(int((probabilities.argmax(1) == truth).sum()), len(truth)), abs=0.012)
    assert drawn.class_f1.shape == (RESAMPLES, 4)


def test_a_weight_of_two_is_the_case_twice():
    probabilities, truth, _ = slides(np.random.default_rng(4), groups=10)
    probabilities = np.random.default_rng(5).dirichlet(np.ones(4), len(truth)) * 0.5 + probabilities * 0.5
    answered = probabilities.max(1) > 0.4
    weights = np.random.default_rng(6).integers(0, 4, len(truth))
    rows = np.repeat(np.arange(len(truth)), weights)
    weighted = figures(Cases(probabilities, truth, answered), weights[None].astype(float))
    repeated = figures(Cases(probabilities[rows], truth[rows], answered[rows]), np.ones((1, len(rows))))
    for name, value in vars(weighted).items():
        assert value == pytest.approx(getattr(repeated, name)), name
    assert weighted.auc[0] == pytest.approx(theirs.roc_auc_score(truth[rows], probabilities[rows], multi_class="ovr"))
    assert weighted.loss[0] == pytest.approx(theirs.log_loss(truth[rows], probabilities[rows]))


def test_every_figure_lies_in_its_interval():
    probabilities, truth, groups = slides(np.random.default_rng(7))
    found = score(probabilities, truth, probabilities.max(1) > 0, [str(g) for g in groups]).to_json()
    parts = [found, found["malignant"], *found["per_class"].values()]
    checked = 0
    for part in parts:
        for name in [n for n in part if n.endswith("_ci95")]:
            value = part.get(name.removesuffix("_ci95").removesuffix("_group"), 1 - found["abstained"] / found["n"])
            low, high = part[name]
            assert low <= value <= high, name
            checked += 1
    assert checked > 40
    json.dumps(found, allow_nan=False)


def test_a_calibrated_model_has_an_interval_around_its_calibration_error():
    random = np.random.default_rng(8)
    confidence = random.uniform(0.5, 1.0, 3000)
    truth = random.integers(0, 4, 3000)
    guess = np.where(random.random(3000) < confidence, truth, (truth + 1) % 4)
    probabilities = np.repeat((1 - confidence)[:, None] / 3, 4, axis=1)
    probabilities[np.arange(3000), guess] = confidence
    found = score(probabilities, truth)
    assert found.ece_ci95[0] <= found.ece <= found.ece_ci95[1]
    assert found.ece < 0.03
    assert sum(found.reliability["n"]) == 3000


def test_a_perfect_score_still_has_a_width():
    truth = np.arange(40) % 4
    found = score(np.eye(4)[truth] * 0.96 + 0.01, truth, groups=[str(i // 4) for i in range(40)])
    assert found.accuracy_group_ci95 == found.accuracy_ci95
    assert found.accuracy_ci95[0] < 0.95


def test_risk_falls_as_the_unsure_are_left_out():
    truth = np.array([0, 1, 2, 3, 0, 1])
    probabilities = np.full((6, 4), 0.02)
    for row, (guess, confidence) in enumerate(((0, 0.94), (1, 0.9), (2, 0.9), (3, 0.8), (1, 0.6), (2, 0.5))):
        probabilities[row] = (1 - confidence) / 3
        probabilities[row, guess] = confidence
    coverage, risk = risk_coverage(Cases(probabilities, truth, np.ones(6, bool)))
    assert coverage == pytest.approx([1 / 6, 3 / 6, 4 / 6, 5 / 6, 1])  # equal confidences come together
    assert risk == pytest.approx([0, 0, 0, 1 / 5, 2 / 6])
    assert score(probabilities, truth).aurc == pytest.approx((1 / 5 + 2 / 6) / 6)


def test_missed_counts_what_was_answered_benign():
    truth = np.array([1, 1, 2, 0])
    probabilities = np.eye(4)[[0, 0, 2, 0]] * 0.9 + 0.025
    found = score(probabilities, truth, np.array([True, False, True, True]))
    assert found.malignant["missed"] == 1
    assert found.verdicts[1] == [1, 0, 0, 0, 1]
    assert found.confusion[1] == [2, 0, 0, 0]
