"""The guard against steps that become twice as slow: `benchmarks/ratios.py` against its committed ratios and counts."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
COMMITTED = BENCHMARKS / "reference" / "ratios.csv"

pytest.importorskip("ai_edge_litert", reason="the shipped bundle's engine")
pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="system calls are counted by Linux")


def check(against):
    return subprocess.run([sys.executable, BENCHMARKS / "ratios.py", "--against", against, "--rounds", "5"],
                          capture_output=True, text=True, check=False)


def test_no_step_is_twice_as_slow_and_no_count_has_changed():
    done = check(COMMITTED)
    assert done.returncode == 0, done.stderr


def test_a_step_twice_as_slow_and_a_changed_count_would_be_seen(tmp_path):
    with COMMITTED.open() as file:
        rows = {row["what"]: float(row["value"]) for row in csv.DictReader(file)}
    rows["segmentation, stain"] /= 4  # a machine may be quicker at it than the committed one
    calls = rows["system calls that write, per result"]
    rows["system calls that write, per result"] += 1
    with (tmp_path / "faster.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("what", "value"), *rows.items()])
    done = check(tmp_path / "faster.csv")
    assert done.returncode == 1
    assert "segmentation, stain: " in done.stderr
    assert f"system calls that write, per result: {calls:.0f}, committed {calls + 1:.0f}" in done.stderr
