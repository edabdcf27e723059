"""Samples of the proofs in docs/results/daemon.md; the scripts measure thousands."""

import pytest

from alledge.device.states import State

from .proofs import measured, needs_compiler


def test_kills_in_every_state_and_at_random_lose_and_double_nothing() -> None:
    found = measured("daemon_kills.py", "--kills", "20", "--each", "1", "--starts", "0")
    assert all(found["in_state"][state.value] >= 1 for state in State)
    assert found["random_kills"] == 20
    assert found["acknowledged"] > 10


@needs_compiler
def test_full_disks_and_wrong_clocks_stop_nothing() -> None:
    found = measured("daemon_faults.py", "--seconds", "0.3", "--cycles", "1", "--clock", "60")
    assert all(row["in_state"] and row["on_screen"] for row in found["every_kth_write_fails"]["by_k"] if row["k"] <= 2)
    assert all(part["said_in_state"] == part["said_on_screen"] == 1 for part in found["full_file_system"])
    assert found["wrong_clock"]["clock_went_back"] > 0


def test_a_damaged_configuration_is_a_sentence() -> None:
    pytest.importorskip("onnxruntime")
    found = measured("fuzz_config.py", "--files", "150")
    assert sum(found.values()) == 150
    assert found["opened"] > 0
