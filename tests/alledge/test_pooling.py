"""Fields of one slide add up, or say why they do not."""

import pytest

from alledge.labels import INCONCLUSIVE, LABELS
from alledge.pooling import LEAST_FIELDS, LEAST_MEAN, pool
from alledge.verdict import Verdict


def field(label: str = "pre_b", confidence: float = 0.97, **more: object) -> Verdict:
    rest = (1 - confidence) / 3
    return Verdict(label, confidence, {name: confidence if name == label else rest for name in LABELS},
                   bundle_id="b1", **more)  # type: ignore[arg-type]


def lost(reason: str = "out of focus: turn the fine focus") -> Verdict:
    return Verdict(INCONCLUSIVE, 0.4, dict.fromkeys(LABELS, 0.25), (reason,), bundle_id="b1")


def test_fields_of_one_mind_are_a_verdict() -> None:
    verdict = pool("S-0001", [field() for _ in range(LEAST_FIELDS)])
    assert (verdict.verdict, verdict.missing, verdict.reasons) == ("pre_b", 0, ())
    assert verdict.confidence == pytest.approx(0.97)
    assert sum(verdict.probabilities.values()) == pytest.approx(1)


def test_too_few_fields_say_how_many_more() -> None:
    verdict = pool("S-0001", [field(), lost(), lost(), field()])
    assert not verdict.conclusive
    assert verdict.missing == LEAST_FIELDS - 2
    assert verdict.reasons == (f"too few fields: 2 with a verdict of at least {LEAST_FIELDS}, take {LEAST_FIELDS - 2} "
                               "more",)
    assert verdict.doubts == {"out of focus": 2}
    assert verdict.votes == {"pre_b": 2, INCONCLUSIVE: 2}


def test_nothing_at_all_is_not_a_verdict() -> None:
    verdict = pool("S-0001", [])
    assert (verdict.verdict, verdict.confidence, verdict.probabilities) == (INCONCLUSIVE, 0.0, {})


def test_one_field_of_five_that_disagrees_is_enough_to_look_again() -> None:
    verdict = pool("S-0001", [*(field("benign", 0.99) for _ in range(4)), field("pro_b", 0.9)])
    assert not verdict.conclusive
    assert verdict.reasons == ("the fields disagree (Benign 4, Pro-B 1): take more fields or look at the slide",)
    assert pool("S-0001", [*(field("benign", 0.99) for _ in range(19)), field("pro_b", 0.9)]).verdict == "benign"


@pytest.mark.parametrize("other", LABELS[1:])
def test_a_mixed_slide_has_no_verdict_in_either_order(other: str) -> None:
    mixed = [*(field("benign") for _ in range(12)), *(field(other) for _ in range(3))]
    assert pool("S-0001", mixed).verdict == pool("S-0001", mixed[::-1]).verdict == INCONCLUSIVE
    assert max(pool("S-0001", mixed).probabilities.values()) < LEAST_MEAN


def test_a_slide_that_is_mostly_inconclusive_has_no_verdict_whatever_the_rest_says() -> None:
    fields = [*(field() for _ in range(6)), *(lost() for _ in range(6))]
    assert pool("S-0001", fields).verdict == "pre_b"
    verdict = pool("S-0001", [*fields, lost()])
    assert not verdict.conclusive
    assert "only 6 of 13 fields" in verdict.reasons[0]


def test_fields_of_two_bundles_do_not_add_up() -> None:
    fields = [*(field() for _ in range(5)), Verdict("pre_b", 0.9, {"pre_b": 0.9}, bundle_id="b2")]
    verdict = pool("S-0001", fields)
    assert (verdict.verdict, verdict.bundle_id) == (INCONCLUSIVE, "")
    assert "2 bundles" in verdict.reasons[0]


def test_faults_caveats_and_times_are_carried() -> None:
    fields = [field(taken_at=f"2026-01-01T00:00:0{i}", faults=("engine-crashed",), caveat="GATE NOT MET")
              for i in range(5)]
    verdict = pool("S-0001", fields)
    assert (verdict.faults, verdict.caveat) == (("engine-crashed",), "GATE NOT MET")
    assert (verdict.began_at, verdict.ended_at) == ("2026-01-01T00:00:00", "2026-01-01T00:00:04")
