import numpy as np
import pytest

from alledge.convert.check import compare, demand, doubts, gates, goldens_gate, paired_interval
from alledge.convert.trained import Outputs
from alledge.errors import GateNotMet


def outputs(classes):
    return Outputs(np.eye(4, dtype=np.float32)[classes], np.zeros((len(classes), 2), np.float32))


def changed(n, wrong):
    """n tiles, all right in float; the first `wrong` of them another class after conversion."""
    truth = np.zeros(n, int)
    after = truth.copy()
    after[:wrong] = 1
    return {"kernels": compare(outputs(truth), outputs(after), truth)}


@pytest.mark.parametrize(("n", "wrong", "passes"), [(500, 0, True), (500, 5, True), (500, 6, False), (40, 1, True),
                                                    (40, 2, False), (200, 2, True), (200, 3, False),
                                                    (39, 1, False), (39, 0, True), (4, 1, False)])
def test_the_gate_allows_one_point_and_one_tile_from_40_on(n, wrong, passes):
    comparisons = changed(n, wrong)
    found = gates(comparisons)
    assert found["accuracy_drop"]["passed"] is passes
    if passes:
        demand(found, comparisons)
    else:
        with pytest.raises(GateNotMet, match="--allow-drop") as caught:
            demand(found, comparisons)
        assert caught.value.exit_code == 6


def test_a_refusal_names_the_targets_own_remedy():
    comparisons = changed(400, 40)
    with pytest.raises(GateNotMet, match=r"more data, keep Conv_3 in float, choose --target onnx, or accept"):
        demand(gates(comparisons), comparisons, "keep Conv_3 in float")
    with pytest.raises(GateNotMet, match=r"more data, choose --target onnx, or accept"):
        demand(gates(comparisons), comparisons)


def test_disagreement_fails_even_when_accuracy_does_not():
    truth = np.zeros(400, int)
    before, after = truth.copy(), truth.copy()
    before[:9], after[9:18] = 1, 1
    found = gates({"kernels": compare(outputs(before), outputs(after), truth)})
    assert found["accuracy_drop"]["passed"]
    assert not found["agreement"]["passed"]


def test_one_bad_kernel_set_is_enough_to_fail():
    assert not gates({**changed(400, 0), "other": changed(400, 40)["kernels"]})["agreement"]["passed"]


@pytest.mark.parametrize(("n", "passes"), [(4, False), (39, False), (40, True)])
def test_one_disagreement_is_forgiven_from_40_tiles_on(n, passes):
    gate = gates(changed(n, 1))["agreement"]
    assert gate["passed"] is passes
    assert gate["forgiven_tiles"] == {"kernels": int(passes)}


def test_kernel_sets_that_differ_on_the_goldens_are_refused_in_their_own_words():
    comparisons = changed(200, 0)
    found = {**gates(comparisons), "goldens": goldens_gate(0.07, 0.06)}
    with pytest.raises(GateNotMet, match=r"differ by 0\.070 .* \(at most 0\.06\).*--allow-drop"):
        demand(found, comparisons)
    demand({**found, "goldens": goldens_gate(0.06, 0.06)}, comparisons)


def test_paired_interval_follows_bonett_and_price():
    low, high = paired_interval(0, 0, 100)
    assert low == pytest.approx(-high)
    low, high = paired_interval(lost=10, gained=2, n=100)  # p = 11/102, 3/102: -8/102 -/+ 1.96 sqrt(.1311/102)
    assert (low, high) == pytest.approx((-0.14870, -0.00817), abs=2e-5)


def test_few_tiles_are_confessed():
    assert "judged on 40 tiles with kernels kernels" in doubts(changed(40, 0))[0]
    assert not doubts(changed(200, 0))


def test_a_kernel_set_that_judged_too_few_tiles_to_prove_its_gate_is_named():
    one, (few,) = changed(200, 0)["kernels"], changed(44, 0).values()
    (said,) = doubts({"xnnpack": one, "builtin": few})
    assert said.startswith("judged on 44 tiles with builtin kernels: agreement may be as low as 92.0%")
    (both,) = doubts({"xnnpack": few, "builtin": few})
    assert "with xnnpack and builtin kernels" in both


def test_recall_is_told_class_by_class_with_its_paired_interval():
    truth = np.repeat(np.arange(4), 50)
    after = truth.copy()
    after[:5] = 1
    found = compare(outputs(truth), outputs(after), truth)
    assert [a.n for a in found.recall.values()] == [50] * 4
    assert (found.recall["benign"].delta, found.recall["benign"].lost) == (-0.1, 5)
    assert found.recall["benign"].delta_ci95 == paired_interval(5, 0, 50)
    assert found.recall["pro_b"].delta == 0


def test_without_the_truth_only_agreement_is_demanded():
    names = np.zeros(400, int)
    other = names.copy()
    other[:9] = 1
    found = compare(outputs(names), outputs(other), None)
    assert found.accuracy is None
    assert set(gates({"kernels": found})) == {"agreement"}
    with pytest.raises(GateNotMet, match=r"agreement 97\.8%") as caught:
        demand(gates({"kernels": found}), {"kernels": found})
    assert "accuracy" not in str(caught.value).split("lost too much")[1].split(";")[0]


def test_a_network_that_never_learned_is_called_one():
    truth = np.repeat(np.arange(4), 100)
    constant = np.zeros(400, int)
    assert "is it trained?" in doubts({"k": compare(outputs(constant), outputs(constant), truth)})[0]
    assert not doubts({"k": compare(outputs(truth), outputs(truth), truth)})
    assert not doubts({"k": compare(outputs(constant), outputs(constant), None)})
