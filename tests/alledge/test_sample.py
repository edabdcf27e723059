"""What a slide may be called, and the outcome of one."""

import json

import pytest

from alledge.errors import UsageError
from alledge.sample import SampleVerdict, check_sample_id, next_sample_id


@pytest.mark.parametrize(("entered", "kept"), [
    ("S-0001", "S-0001"), (" s-0001\n", "S-0001"), ("H26-01234", "H26-01234"), ("2026-0113", "2026-0113"), ("7", "7"),
    ("BM-26-004-A", "BM-26-004-A"), ("9" * 24, "9" * 24),
])
def test_numbers_of_slides_are_kept(entered: str, kept: str) -> None:
    assert check_sample_id(entered) == kept


@pytest.mark.parametrize(("entered", "expected"), [
    ("", "1 to 24"), ("   ", "1 to 24"), ("9" * 25, "1 to 24"), ("JANE DOE", "single hyphens"), ("DOE-1", None),
    ("SMITH-1", "letters in a row"), ("smith-1", "letters in a row"), ("S--1", "single hyphens"), ("-S1", "single"),
    ("A-B-C", "at least one digit"), ("S_1", "single"), ("MÜLLER1", "single"), ("S-٣", "single"),
    ("1970-01-31", "date of birth"), ("31-1-1970", "date of birth"), ("A-1970-01-31", "date of birth"),
    ("S-1\nS-2", "single hyphens"), ("../1", "single hyphens"), ("1; DROP", "single hyphens"),
])
def test_names_dates_and_other_text_are_refused_and_not_repeated(entered: str, expected: str | None) -> None:
    if expected is None:
        assert check_sample_id(entered) == entered  # three letters: no rule can tell them from a prefix
        return
    with pytest.raises(UsageError, match=expected) as caught:
        check_sample_id(entered)
    assert "never a patient's name" in str(caught.value)
    assert len(entered.strip()) < 5 or entered.strip() not in str(caught.value)


def test_samples_are_numbered_on_from_the_highest() -> None:
    assert next_sample_id([]) == "S-0001"
    assert next_sample_id(["S-0009", "H26-01234", "S-0002", ""]) == "S-0010"
    assert next_sample_id(["S-9999"]) == "S-10000"
    assert check_sample_id(next_sample_id([f"S-{10 ** 9}", "S-999999999"])) == "S-1000000000"


def test_a_sample_verdict_in_plain_types() -> None:
    verdict = SampleVerdict("S-0001", "pre_b", 0.99, {"pre_b": 0.99}, votes={"pre_b": 5, "inconclusive": 2})
    assert (verdict.title, verdict.conclusive, verdict.fields, verdict.answered) == ("Pre-B", True, 7, 5)
    plain = json.loads(json.dumps(verdict.to_json()))
    assert (plain["sample"], plain["fields"], plain["answered"], plain["reasons"]) == ("S-0001", 7, 5, [])
