"""Samples of the proofs in docs/results/model-slots.md; the scripts measure hundreds, with the real health check."""

from typing import Any

from .test_store_proofs import measured, needs_compiler

WRONG = ("not_verified", "neither_old_nor_new", "kept_and_lost", "trial_left_open", "chain_broken", "left_over")


def test_a_device_comes_back_with_a_verified_model_wherever_it_is_killed() -> None:
    found = measured("slot_kills.py", "--steps", "30", "--random", "8", "--stand-in")
    assert found["steps"] >= 25
    assert len(set(found["named"])) > 20
    assert found["killed"] >= found["steps"]
    assert wrong(found) == dict.fromkeys(WRONG, 0)


@needs_compiler
def test_a_power_cut_leaves_the_old_model_or_the_new_one() -> None:
    found = measured("slot_power.py", "--cuts", "25")
    assert (found["cuts"], found["lost"], found["not_verified"]) == (25, 0, 0)
    assert found["within_an_installation"] > 20
    assert measured("slot_power.py", "--cuts", "25", "--careless", code=1)["lost"] > 0


def wrong(found: dict[str, Any]) -> dict[str, int]:
    return {name: found[name] for name in WRONG}
