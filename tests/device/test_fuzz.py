"""A sample of `benchmarks/fuzz_images.py`: no damaged file crashes or hangs the device."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_mutated_images_are_refused_or_judged_and_nothing_else_happens() -> None:
    pytest.importorskip("ai_edge_litert", reason="judges what decodes with the reference bundle")
    script = Path(__file__).parents[2] / "benchmarks" / "fuzz_images.py"
    done = subprocess.run([sys.executable, script, "--cases", "300", "--seed", "9", "--out", "-"], capture_output=True,
                          text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| **all** | 300 |" in done.stdout
