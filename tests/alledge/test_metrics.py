import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from alledge.bundle import MAX_MANIFEST_BYTES
from alledge.calibration import (
    LEAST_CONFIDENCE,
    Calibration,
    answered,
    apply_temperature,
    fit_calibration,
    fit_gate,
    gate_figures,
)
from alledge.labels import LABELS
from alledge.metrics import expected_calibration_error, score, wilson


def drawn(seed, n=200, sharp=2.0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, n)
    logits = random.normal(0, 1, (n, 4))
    logits[np.arange(n), truth] += sharp
    power = np.exp(logits)
    return power / power.sum(1, keepdims=True), truth


@given(st.integers(0, 10_000), st.integers(20, 300))
@settings(max_examples=25, deadline=None)
def test_scores_equal_sklearn(seed, n):
    probabilities, truth = drawn(seed, n)
    if len(np.unique(truth)) < 4:
        return
    ours, guess = score(probabilities, truth), probabilities.argmax(1)
    assert ours.accuracy == pytest.approx(theirs.accuracy_score(truth, guess))
    assert ours.macro_f1 == pytest.approx(theirs.f1_score(truth, guess, average="macro", zero_division=0))
    assert ours.auc == pytest.approx(theirs.roc_auc_score(truth, probabilities, multi_class="ovr"))
    assert ours.confusion == theirs.confusion_matrix(truth, guess, labels=range(4)).tolist()
    recalls = theirs.recall_score(truth, guess, average=None, labels=range(4), zero_division=0)
    assert [ours.per_class[label].recall for label in LABELS] == pytest.approx(list(recalls))
    assert ours.malignant["sensitivity"] == pytest.approx(theirs.recall_score(truth > 0, guess > 0))


def test_auc_counts_ties_as_half():
    probabilities = np.full((8, 4), 0.25)
    assert score(probabilities, np.array([0, 1, 2, 3] * 2)).auc == pytest.approx(0.5)


def test_wilson_interval_matches_published_figures():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_nothing_to_divide_is_none_not_zero():
    scores = score(np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0]]), np.array([0, 1]), np.array([False, False]))
    assert scores.per_class["pro_b"].recall is None
    assert scores.accuracy_when_answered is None
    assert scores.abstained == 2
    assert scores.to_json()["per_class"]["benign"]["n"] == 1


def test_temperature_softens_without_changing_the_order():
    probabilities, _ = drawn(1)
    soft, same = apply_temperature(probabilities, 3.0), apply_temperature(probabilities, 1.0)
    assert np.allclose(same, probabilities)
    assert np.array_equal(soft.argmax(1), probabilities.argmax(1))
    assert soft.max() < probabilities.max()
    assert np.allclose(soft.sum(1), 1)


def test_calibration_mends_overconfidence_on_rows_it_never_saw():
    probabilities, truth = drawn(2, 4000, sharp=1.0)
    over = apply_temperature(probabilities, 0.3)
    fitted = fit_calibration(over[:2000], None, truth[:2000], None)
    mended = apply_temperature(over[2000:], fitted.temperature)
    assert fitted.temperature > 2
    assert expected_calibration_error(mended, truth[2000:]) < expected_calibration_error(over[2000:], truth[2000:]) / 4


def test_gates_that_have_been_used_still_compare():
    random = np.random.default_rng(0)
    measured, truth = random.normal(size=(40, 5)), np.repeat(np.arange(4), 10)
    gate, same = fit_gate(measured, truth), fit_gate(measured, truth)
    gate.distance(measured)
    assert gate == same
    assert gate != fit_gate(measured + np.eye(40, 5), truth)


def test_the_gate_lets_its_own_kind_pass_and_stops_strangers():
    random = np.random.default_rng(3)
    truth = random.integers(0, 4, 900)
    embeddings = random.normal(0, 1, (900, 16)) + 4 * np.eye(16)[truth]
    gate = fit_gate(embeddings[:600], truth[:600])
    fitted = fit_calibration(np.eye(4)[truth[600:]] * 0.9 + 0.025, gate.distance(embeddings[600:]), truth[600:], gate)
    sure = np.full((300, 4), 0.01) + 0.96 * np.eye(4)[truth[600:]]
    assert answered(sure, embeddings[600:], fitted).mean() >= 0.95
    assert answered(sure, random.normal(0, 6, (300, 16)), fitted).mean() < 0.1
    assert fitted.gate == type(gate).model_validate_json(fitted.gate.model_dump_json())


def test_the_gate_of_a_plain_heads_wide_embedding_fits_a_manifest_and_still_tells():
    random = np.random.default_rng(7)
    truth = random.integers(0, 4, 600)
    places = random.normal(0, 1, (4, 2560))
    embeddings, stains = random.normal(0, 1, (600, 2560)) + places[truth], random.normal(0, 1, (600, 6))
    gate = fit_gate(gate_figures(embeddings, stains), truth)
    assert len(gate.model_dump_json()) < MAX_MANIFEST_BYTES / 2
    assert (gate.distance(gate_figures(embeddings, stains)) <= gate.threshold).mean() > 0.95
    elsewhere = embeddings + 3 * random.normal(0, 1, 2560)
    assert (gate.distance(gate_figures(elsewhere, stains)) > gate.threshold).all()
    narrow = embeddings[:, :256]
    assert (gate_figures(narrow, stains) == np.concatenate([narrow, stains], axis=1)).all()


def test_abstention_reaches_its_aim_without_refusing_too_much():
    probabilities, truth = drawn(4, 4000, sharp=3.0)
    fitted = fit_calibration(probabilities, None, truth, None)
    calibrated = apply_temperature(probabilities, fitted.temperature)
    kept = answered(calibrated, np.zeros((4000, 2)), fitted)
    right = calibrated.argmax(1) == truth
    assert right[kept].mean() > right.mean()
    assert kept.mean() >= 0.79


def test_a_network_that_learned_nothing_answers_nothing():
    random = np.random.default_rng(5)
    probabilities, truth = random.dirichlet([0.5] * 4, 400), random.integers(0, 4, 400)
    fitted = fit_calibration(probabilities, None, truth, None)
    assert not answered(apply_temperature(probabilities, fitted.temperature), np.zeros((400, 2)), fitted).any()


def test_a_network_that_is_always_right_still_needs_three_to_one():
    probabilities, truth = np.eye(4)[[0, 1, 2, 3] * 9] * 0.96 + 0.01, np.array([0, 1, 2, 3] * 9)
    fitted = fit_calibration(probabilities, None, truth, None)
    assert fitted.abstain_below == LEAST_CONFIDENCE
    assert answered(apply_temperature(probabilities, fitted.temperature), np.zeros((36, 2)), fitted).all()
    assert Calibration.model_validate(fitted.model_dump()) == fitted
