"""Samples of the proofs in docs/results/results-store.md; the scripts measure thousands."""

import pytest

from .proofs import measured, needs_compiler


def test_kills_lose_and_double_nothing() -> None:
    found = measured("store_kills.py", "--kills", "30", "--migrations", "8")
    assert (found["kills"], found["migrations"]) == (30, 8)
    assert found["acknowledged"] > 0


def test_every_manipulation_is_found_and_damage_is_one_sentence() -> None:
    found = measured("store_tamper.py", "--changes", "120", "--damages", "100", "--seed", "3")
    assert sum(kind["verify_found"] for kind in found["changes"].values()) == 120
    assert found["informed"] == {"tried": 12, "found_without_witness": 0, "found_with_witness": 12,
                                 "missed_with_witness": 0}


@needs_compiler
def test_a_clock_that_is_set_to_anything_changes_no_order() -> None:
    pytest.importorskip("fhir.resources")
    found = measured("store_clock.py", "--results", "120")
    assert found["clock_went_back"] > 20
    assert found["earliest"] < "1971"


@needs_compiler
def test_a_full_disk_corrupts_nothing() -> None:
    found = measured("store_full.py", "--results", "20", "--cycles", "5")
    assert [row["k"] for row in found["every_kth_write_fails"]] == [1, 2, 3, 5, 7, 11, 17, 31, 64]
    assert sum(row["refused"] for row in found["every_kth_write_fails"]) > 100


@needs_compiler
def test_a_power_cut_takes_nothing_that_was_acknowledged() -> None:
    found = measured("store_power.py", "--results", "60", "--cuts", "60")
    assert (found["cuts"], found["lost"]) == (60, 0)
    assert found["acknowledged_before_cuts"] > 60
    control = measured("store_power.py", "--results", "60", "--cuts", "60", "--normal", code=1)
    assert control["lost"] > 0
